// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/runtime/runtimetest"
)

// node fakes containerd with pods and containers of the built-in CRI. It records the changes of
// what the built-in CRI has saved.
type node struct {
	*runtimetest.Containerd
	stock map[runtime.Kind][]runtime.BuiltIn

	mu        sync.Mutex // guards what calls record: Store makes them concurrently
	changes   []string
	sandbox   runtime.Sandbox   // saved last
	container runtime.Container // saved last

	// Of the pods and containers of ours in the lists.
	handedBack bool
	removed    string // ID of a pod without a container
	resources  []byte
}

func (n *node) CreateSandbox(ctx context.Context, s runtime.Sandbox) error {
	n.mu.Lock()
	n.sandbox = s
	n.mu.Unlock()
	return n.Containerd.CreateSandbox(ctx, s)
}

func (n *node) SaveSandbox(ctx context.Context, s runtime.Sandbox) error {
	n.mu.Lock()
	n.sandbox = s
	n.mu.Unlock()
	return n.Containerd.SaveSandbox(ctx, s)
}

func (n *node) CreateContainer(ctx context.Context, c runtime.Container) error {
	n.mu.Lock()
	n.container = c
	n.mu.Unlock()
	return n.Containerd.CreateContainer(ctx, c)
}

func (n *node) SaveContainer(ctx context.Context, c runtime.Container) error {
	n.mu.Lock()
	n.container = c
	n.mu.Unlock()
	return n.Containerd.SaveContainer(ctx, c)
}

func (n *node) Sandboxes(ctx context.Context) ([]runtime.Record, error) {
	records, err := n.Containerd.Sandboxes(ctx)
	for i := range records {
		records[i].BuiltIn, records[i].Resources = n.handedBack, n.resources
	}
	return records, err
}

func (n *node) Containers(ctx context.Context) ([]runtime.Record, error) {
	records, err := n.Containerd.Containers(ctx)
	for i := range records {
		records[i].BuiltIn = n.handedBack
	}
	return records, err
}

func (n *node) note(format string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes = append(n.changes, fmt.Sprintf(format, args...))
	return nil
}

func (n *node) HasContainer(_ context.Context, id string) (bool, error) { return id != n.removed, nil }

func (n *node) KeepMetadata(_ context.Context, id string) error { return n.note("keep %s", id) }

func (n *node) SaveResources(_ context.Context, id string, resources []byte) error {
	return n.note("resources %s %s", id, resources)
}

func (n *node) StopSandbox(_ context.Context, sandboxer, id string) error {
	return n.note("stop %s %s", sandboxer, id)
}

func (n *node) DeleteLease(_ context.Context, id string) error { return n.note("lease %s", id) }

// changed compares the changes since the last call.
func (n *node) changed(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, n.changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	n.changes = nil
}

func (n *node) List(_ context.Context, kind runtime.Kind) ([]runtime.BuiltIn, error) {
	return n.stock[kind], nil
}
