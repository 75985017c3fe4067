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
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// stockExtensions are the names of the extensions in which containerd's built-in CRI saves the
// metadata of a pod and of a container.
var stockExtensions = map[Kind]string{
	KindPod:       "io.cri-containerd.sandbox.metadata",
	KindContainer: "io.cri-containerd.container.metadata",
}

// Extensions of a sandbox of the built-in CRI: the metadata of the pod, and its resources after an
// update, with the type of their value.
const (
	stockSandbox       = "metadata"
	stockResources     = "updated-resources"
	stockResourcesType = "io.containerd.cri.v1/UpdatedResources"
)

// PodSandboxer is the sandbox controller of pods with a pause process.
const PodSandboxer = "podsandbox"

// Stock is a pod or a container of containerd's built-in CRI. A pod is the container with its pause
// process, or a sandbox without one.
type Stock struct {
	ID        string
	Labels    map[string]string
	Metadata  []byte // JSON of the built-in CRI
	Resources []byte // JSON of the built-in CRI, of a pod whose resources were updated
	Sandboxer string // sandbox controller of a pod; "" for [PodSandboxer]

	Runtime     string // runtime type
	Options     any    // runtime options, nil for none and for unknown ones
	Snapshotter string
	Created     time.Time
	Spec        *specs.Spec // nil if it cannot be decoded
}

// StockCRI reads and changes what containerd's built-in CRI has saved in containerd, in its format.
type StockCRI struct {
	Containers containers.Store
	Sandboxes  sandbox.Store
	Leases     leases.Manager
	// Controller returns the sandbox controller of that name.
	Controller func(name string) sandbox.Controller
}

// NewStockCRI returns a StockCRI that uses c.
func NewStockCRI(c *containerd.Client) StockCRI {
	return StockCRI{
		Containers: c.ContainerService(), Sandboxes: c.SandboxStore(), Leases: c.LeasesService(), Controller: c.SandboxController,
	}
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
	if info.Runtime.Options != nil {
		s.Options, _ = typeurl.UnmarshalAny(info.Runtime.Options)
	}
	if info.Spec != nil {
		s.Spec, _ = decodeSpec(info)
	}
	return s, true
}

// addSandboxes adds what the sandboxes of the built-in CRI have: pods without a container, and the
// resources of the others. containerd before 1.7 has no sandboxes.
func (c StockCRI) addSandboxes(ctx context.Context, found []Stock) ([]Stock, error) {
	list, err := c.Sandboxes.List(ctx)
	if errdefs.IsNotImplemented(err) {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	at := map[string]int{}
	for i, s := range found {
		at[s.ID] = i
	}
	for _, s := range list {
		metadata, stock := s.Extensions[stockSandbox]
		if _, ours := s.Extensions[recordExtension]; ours || !stock {
			continue
		}
		i, has := at[s.ID]
		if !has {
			i = len(found)
			found = append(found, Stock{
				ID: s.ID, Labels: s.Labels, Metadata: metadata.GetValue(), Runtime: s.Runtime.Name, Sandboxer: s.Sandboxer, Created: s.CreatedAt,
			})
		}
		if resources := s.Extensions[stockResources]; resources != nil {
			found[i].Resources = resources.GetValue()
		}
	}
	return found, nil
}

// KeepPod makes the metadata of a pod survive its container: since containerd 2.0 a sandbox has it,
// too. It does nothing if there is a sandbox, or no container.
func (c StockCRI) KeepPod(ctx context.Context, id string) error {
	if _, err := c.Sandboxes.Get(ctx, id); !errdefs.IsNotFound(err) {
		return err
	}
	info, err := c.Containers.Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.Sandboxes.Create(ctx, sandbox.Sandbox{
		ID:         id,
		Labels:     info.Labels,
		Runtime:    sandbox.RuntimeOpts{Name: info.Runtime.Name},
		Sandboxer:  PodSandboxer,
		Extensions: map[string]typeurl.Any{stockSandbox: info.Extensions[stockExtensions[KindPod]]},
	})
	if err != nil {
		return fmt.Errorf("keep the metadata of pod %s: %w", id, err)
	}
	return nil
}

// SaveResources saves the resources of a pod after an update, as JSON of the built-in CRI.
func (c StockCRI) SaveResources(ctx context.Context, id string, resources []byte) error {
	if err := c.KeepPod(ctx, id); err != nil {
		return err
	}
	extension := &anypb.Any{TypeUrl: stockResourcesType, Value: resources}
	_, err := c.Sandboxes.Update(ctx,
		sandbox.Sandbox{ID: id, Extensions: map[string]typeurl.Any{stockResources: extension}}, "extensions."+stockResources)
	if err != nil {
		return fmt.Errorf("save the resources of pod %s: %w", id, err)
	}
	return nil
}

// StopSandbox ends a pod of another sandbox controller than [PodSandboxer]. It is no error if it
// has ended.
func (c StockCRI) StopSandbox(ctx context.Context, sandboxer, id string) error {
	controller := c.Controller(sandboxer)
	if controller == nil {
		return fmt.Errorf("pod %s: sandbox controller %q: %w", id, sandboxer, errdefs.ErrNotImplemented)
	}
	if err := controller.Stop(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("pod %s: stop sandbox: %w", id, err)
	}
	if err := controller.Shutdown(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("pod %s: shut down sandbox: %w", id, err)
	}
	return nil
}

// DeleteLease deletes the lease of a pod. Snapshots that only this lease kept are garbage-collected
// later. It is no error if there is none.
func (c StockCRI) DeleteLease(ctx context.Context, podID string) error {
	if err := c.Leases.Delete(ctx, leases.Lease{ID: podID}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete the lease of pod %s: %w", podID, err)
	}
	return nil
}
