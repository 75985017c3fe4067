// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/typeurl/v2"
)

// Types of containerd's client that callers use.
type (
	// Task is a container's init process in its shim.
	Task = containerd.Task
	// Process is a process executed in a task.
	Process = containerd.Process
	// ExitStatus is how a process ended.
	ExitStatus = containerd.ExitStatus
	// Status is the state of a task, with the exit code if it has stopped.
	Status = containerd.Status
)

// States of a task.
const (
	Created = containerd.Created // not started yet
	Running = containerd.Running
	Paused  = containerd.Paused
	Stopped = containerd.Stopped // its init process has exited
)

// Client makes the calls to containerd. It is safe for concurrent use.
type Client struct {
	containerd *containerd.Client
	metadata   metadataDB
}

// New returns a Client that uses c, and db for changes that belong together. db is that of c's
// containerd; without it, nothing can be saved.
func New(c *containerd.Client, db *metadata.DB) *Client {
	return &Client{containerd: c, metadata: newMetadataDB(db)}
}

// Record is a saved record: the JSON of the value that was saved.
type Record struct {
	ID   string
	JSON []byte
	// BuiltIn is true if the metadata for the built-in CRI is saved, too. Resources are those of a
	// pod after an update, in the JSON of the built-in CRI.
	BuiltIn   bool
	Resources []byte
}

// recordExtension is the name of the extension with our record of a sandbox or container, and the
// type URL of its value.
const recordExtension = "containerd-lite.record.v1"

// saved is the JSON of a record in the form that containerd's metadata stores.
type saved []byte

var _ typeurl.Any = saved(nil)

func (saved) GetTypeUrl() string { return recordExtension }
func (s saved) GetValue() []byte { return s }

func encode(record any) (map[string]typeurl.Any, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return map[string]typeurl.Any{recordExtension: saved(data)}, nil
}

// extensionPaths returns the paths by which containerd's metadata updates these extensions and
// keeps the others.
func extensionPaths(extensions map[string]typeurl.Any) []string {
	paths := make([]string, 0, len(extensions))
	for name := range extensions {
		paths = append(paths, "extensions."+name)
	}
	return paths
}
