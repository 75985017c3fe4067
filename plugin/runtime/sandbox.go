// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// Sandbox is a pod in containerd's sandbox store.
type Sandbox struct {
	ID      string
	Labels  map[string]string // of a request; reserved ones are dropped
	Runtime string            // runtime type of the pod's handler
	Record  any               // saved as JSON
	// BuiltIn is the metadata for the built-in CRI, and Resources are those after an update, both
	// in its JSON. With nil they do not change.
	BuiltIn, Resources []byte
}

// extensions returns what is saved of a sandbox, by name.
func (s Sandbox) extensions() (map[string]typeurl.Any, error) {
	all, err := encode(s.Record)
	if err != nil {
		return nil, err
	}
	if s.BuiltIn != nil {
		all[builtInSandbox] = &anypb.Any{TypeUrl: builtInTypes[KindPod], Value: s.BuiltIn}
	}
	if s.Resources != nil {
		all[builtInResources] = &anypb.Any{TypeUrl: builtInResourcesType, Value: s.Resources}
	}
	return all, nil
}

// CreateSandbox saves a new sandbox.
func (c *Client) CreateSandbox(ctx context.Context, s Sandbox) error {
	defer onDisk(ctx, "create the record of pod", s.ID)()
	extensions, err := s.extensions()
	if err != nil {
		return err
	}
	_, err = c.containerd.SandboxStore().Create(ctx, sandbox.Sandbox{
		ID:         s.ID,
		Labels:     KindPod.Labels(s.Labels),
		Runtime:    sandbox.RuntimeOpts{Name: s.Runtime},
		Sandboxer:  PodSandboxer,
		Extensions: extensions,
	})
	return err
}

// SaveSandbox replaces the record of a sandbox and, unless they are nil, the metadata and the
// resources for the built-in CRI. The sandbox must exist. The container of the pod's task gets the
// same metadata, in the same transaction.
func (c *Client) SaveSandbox(ctx context.Context, s Sandbox) error {
	defer onDisk(ctx, "save the record of pod", s.ID)()
	extensions, err := s.extensions()
	if err != nil {
		return err
	}
	return c.metadata.update(ctx, func(ctx context.Context) error {
		if _, err := c.metadata.sandboxes.Update(ctx, sandbox.Sandbox{ID: s.ID, Extensions: extensions}, extensionPaths(extensions)...); err != nil {
			return err
		}
		if err := c.metadata.setSandboxer(ctx, s.ID); err != nil {
			return err
		}
		if s.BuiltIn == nil {
			return nil
		}
		return c.metadata.saveBuiltIn(ctx, s.ID, s.BuiltIn)
	})
}

// DeleteSandbox removes a sandbox. It is no error if it does not exist.
func (c *Client) DeleteSandbox(ctx context.Context, id string) error {
	defer onDisk(ctx, "delete the record of pod", id)()
	if err := c.containerd.SandboxStore().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// Knows reports whether containerd has a sandbox or container with this ID, ours or of another CRI
// plugin.
func (c *Client) Knows(ctx context.Context, id string) (bool, error) {
	_, err := c.containerd.SandboxStore().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		_, err = c.containerd.ContainerService().Get(ctx, id)
	}
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s in containerd: %w", id, err)
	}
	return true, nil
}

// Sandboxes returns the records of our sandboxes.
func (c *Client) Sandboxes(ctx context.Context) ([]Record, error) {
	list, err := c.containerd.SandboxStore().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	var records []Record
	for _, s := range list {
		ext, ok := s.Extensions[recordExtension]
		if !ok {
			continue
		}
		r := Record{ID: s.ID, JSON: ext.GetValue(), BuiltIn: s.Extensions[builtInSandbox] != nil}
		if resources := s.Extensions[builtInResources]; resources != nil {
			r.Resources = resources.GetValue()
		}
		records = append(records, r)
	}
	return records, nil
}
