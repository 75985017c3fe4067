// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
)

// sandboxer marks our sandbox records. containerd has no sandbox controller with this name: the
// plugin runs its pods itself.
const sandboxer = "lite"

// Sandbox is a pod in containerd's sandbox store.
type Sandbox struct {
	ID      string
	Labels  map[string]string // of a request; reserved ones are dropped
	Runtime string            // runtime type of the pod's handler
	Record  any               // saved as JSON
}

// CreateSandbox saves a new sandbox.
func (c *Client) CreateSandbox(ctx context.Context, s Sandbox) error {
	extensions, err := encode(s.Record)
	if err != nil {
		return err
	}
	_, err = c.containerd.SandboxStore().Create(ctx, sandbox.Sandbox{
		ID:         s.ID,
		Labels:     KindPod.Labels(s.Labels),
		Runtime:    sandbox.RuntimeOpts{Name: s.Runtime},
		Sandboxer:  sandboxer,
		Extensions: extensions,
	})
	return err
}

// SaveSandbox replaces the record of a sandbox. The sandbox must exist.
func (c *Client) SaveSandbox(ctx context.Context, id string, record any) error {
	extensions, err := encode(record)
	if err != nil {
		return err
	}
	_, err = c.containerd.SandboxStore().Update(ctx,
		sandbox.Sandbox{ID: id, Extensions: extensions}, "extensions."+recordExtension)
	return err
}

// DeleteSandbox removes a sandbox. It is no error if it does not exist.
func (c *Client) DeleteSandbox(ctx context.Context, id string) error {
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
		if ext, ok := s.Extensions[recordExtension]; ok {
			records = append(records, Record{ID: s.ID, JSON: ext.GetValue()})
		}
	}
	return records, nil
}
