// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/sandbox"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// stockExtensions are the names of the extensions in which containerd's built-in CRI saves the
// metadata of a pod and of a container.
var stockExtensions = map[Kind]string{
	KindPod:       "io.cri-containerd.sandbox.metadata",
	KindContainer: "io.cri-containerd.container.metadata",
}

// stockSandbox is the name of the extension of a sandbox with the metadata of its pod.
const stockSandbox = "metadata"

// Stock is a pod or a container of containerd's built-in CRI. A pod is the container with its pause
// process, or a sandbox without one.
type Stock struct {
	ID          string
	Labels      map[string]string
	Metadata    []byte // JSON of the built-in CRI
	Runtime     string // runtime type
	Sandboxer   string // sandbox controller of a pod without a pause process
	Snapshotter string
	Created     time.Time
	Spec        *specs.Spec // nil if it cannot be decoded
}

// StockCRI reads what containerd's built-in CRI has saved in containerd.
type StockCRI struct {
	Containers containers.Store
	Sandboxes  sandbox.Store
	Leases     leases.Manager
}

// NewStockCRI returns a StockCRI that uses c.
func NewStockCRI(c *containerd.Client) StockCRI {
	return StockCRI{Containers: c.ContainerService(), Sandboxes: c.SandboxStore(), Leases: c.LeasesService()}
}

// List returns the pods or the containers that have no record of ours.
func (c StockCRI) List(ctx context.Context, kind Kind) ([]Stock, error) {
	list, err := c.Containers.List(ctx, kind.filter())
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var found []Stock
	for _, info := range list {
		if s, ok := newStock(kind, info); ok {
			found = append(found, s)
		}
	}
	if kind == KindPod {
		return c.addSandboxes(ctx, found)
	}
	return found, nil
}

// addSandboxes appends the pods of the built-in CRI that have a sandbox and no container.
func (c StockCRI) addSandboxes(ctx context.Context, found []Stock) ([]Stock, error) {
	list, err := c.Sandboxes.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	have := map[string]bool{}
	for _, s := range found {
		have[s.ID] = true
	}
	for _, s := range list {
		metadata, stock := s.Extensions[stockSandbox]
		if _, ours := s.Extensions[recordExtension]; ours || !stock || have[s.ID] {
			continue
		}
		found = append(found, Stock{
			ID: s.ID, Labels: s.Labels, Metadata: metadata.GetValue(), Runtime: s.Runtime.Name, Sandboxer: s.Sandboxer, Created: s.CreatedAt,
		})
	}
	return found, nil
}

// DeleteLease deletes the lease of a pod, and with it the snapshots that only this lease keeps. It
// is no error if there is none.
func (c StockCRI) DeleteLease(ctx context.Context, podID string) error {
	return deleteLease(ctx, c.Leases, podID)
}

func newStock(kind Kind, info containers.Container) (Stock, bool) {
	metadata, stock := info.Extensions[stockExtensions[kind]]
	if _, ours := info.Extensions[recordExtension]; ours || !stock {
		return Stock{}, false
	}
	s := Stock{
		ID:          info.ID,
		Labels:      info.Labels,
		Metadata:    metadata.GetValue(),
		Runtime:     info.Runtime.Name,
		Snapshotter: info.Snapshotter,
		Created:     info.CreatedAt,
	}
	if info.Spec != nil {
		s.Spec, _ = decodeSpec(info)
	}
	return s, true
}
