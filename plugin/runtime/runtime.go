// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/typeurl/v2"
)

// The values of containerd's client that callers handle.
type (
	// Task is a container's init process in its shim.
	Task = containerd.Task
	// Process is a process executed in a task.
	Process = containerd.Process
	// ExitStatus is how a process ended.
	ExitStatus = containerd.ExitStatus
	// Status is the state of a task, and how it ended once it has.
	Status = containerd.Status
)

// The states of a task that decide something.
const (
	Created = containerd.Created // made, not started
	Running = containerd.Running
	Stopped = containerd.Stopped // its process has ended
)

// Client is the door. It is safe for concurrent use.
type Client struct {
	containerd *containerd.Client
}

// New returns the door to the containerd behind c.
func New(c *containerd.Client) *Client {
	return &Client{containerd: c}
}

// Record is a stored record as it was read back: JSON of what was saved.
type Record struct {
	ID   string
	JSON []byte
}

// recordExtension is the name of the extension that holds our record of a
// sandbox or a container, and the type URL of its value.
const recordExtension = "containerd-lite.record.v1"

// saved is a record on its way into containerd's metadata.
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
