// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"slices"
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

// builtInExtensions are the names of the extensions in which containerd's built-in CRI saves the
// metadata of a pod and of a container.
var builtInExtensions = map[Kind]string{
	KindPod:       "io.cri-containerd.sandbox.metadata",
	KindContainer: "io.cri-containerd.container.metadata",
}

// builtInTypes are the type URLs of the values of builtInExtensions.
var builtInTypes = map[Kind]string{
	KindPod:       "github.com/containerd/cri/pkg/store/sandbox/Metadata",
	KindContainer: "github.com/containerd/cri/pkg/store/container/Metadata",
}

// Extensions of a sandbox of the built-in CRI: the metadata of the pod, and its resources after an
// update, with the type of their value.
const (
	builtInSandbox       = "metadata"
	builtInResources     = "updated-resources"
	builtInResourcesType = "io.containerd.cri.v1/UpdatedResources"
)

// PodSandboxer is the sandbox controller of pods with a pause process.
const PodSandboxer = "podsandbox"

// BuiltIn is a pod or a container of the built-in CRI. A pod is its pause container or, if that
// does not exist, its sandbox.
type BuiltIn struct {
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

// BuiltInCRI reads and changes what containerd's built-in CRI has saved in containerd, in its
// format.
type BuiltInCRI struct {
	Containers containers.Store
	Sandboxes  sandbox.Store
	Leases     leases.Manager
	// Controller returns the sandbox controller of that name.
	Controller func(name string) sandbox.Controller
}

// NewBuiltInCRI returns a BuiltInCRI that uses c.
func NewBuiltInCRI(c *containerd.Client) BuiltInCRI {
	return BuiltInCRI{
		Containers: c.ContainerService(), Sandboxes: c.SandboxStore(), Leases: c.LeasesService(), Controller: c.SandboxController,
	}
}

// List returns the pods or the containers that have no record of ours.
func (c BuiltInCRI) List(ctx context.Context, kind Kind) ([]BuiltIn, error) {
	list, err := c.Containers.List(ctx, kind.filter())
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var found []BuiltIn
	for _, info := range list {
		if s, ok := newBuiltIn(kind, info); ok {
			found = append(found, s)
		}
	}
	if kind == KindPod {
		return c.addSandboxes(ctx, found)
	}
	return found, nil
}

func newBuiltIn(kind Kind, info containers.Container) (BuiltIn, bool) {
	metadata, builtIn := info.Extensions[builtInExtensions[kind]]
	if _, ours := info.Extensions[recordExtension]; ours || !builtIn {
		return BuiltIn{}, false
	}
	s := BuiltIn{
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
// resources of the others. It removes pods of ours: their record is in the sandbox. containerd
// before 1.7 has no sandboxes.
func (c BuiltInCRI) addSandboxes(ctx context.Context, found []BuiltIn) ([]BuiltIn, error) {
	list, err := c.Sandboxes.List(ctx)
	if errdefs.IsNotImplemented(err) {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	ours := map[string]bool{}
	for _, s := range list {
		_, ours[s.ID] = s.Extensions[recordExtension]
	}
	found = slices.DeleteFunc(found, func(b BuiltIn) bool { return ours[b.ID] })
	at := map[string]int{}
	for i, s := range found {
		at[s.ID] = i
	}
	for _, s := range list {
		metadata, builtIn := s.Extensions[builtInSandbox]
		if ours[s.ID] || !builtIn {
			continue
		}
		i, has := at[s.ID]
		if !has {
			i = len(found)
			found = append(found, BuiltIn{
				ID: s.ID, Labels: s.Labels, Metadata: metadata.GetValue(), Runtime: s.Runtime.Name, Sandboxer: s.Sandboxer, Created: s.CreatedAt,
			})
		}
		if resources := s.Extensions[builtInResources]; resources != nil {
			found[i].Resources = resources.GetValue()
		}
	}
	return found, nil
}

// HasContainer reports whether a container with this ID exists.
func (c BuiltInCRI) HasContainer(ctx context.Context, id string) (bool, error) {
	_, err := c.Containers.Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// KeepMetadata copies the metadata of a pod from its pause container to a sandbox, before the
// container is deleted. It does nothing if the sandbox exists (containerd 2.0 and later) or the
// container does not.
func (c BuiltInCRI) KeepMetadata(ctx context.Context, id string) error {
	switch _, err := c.Sandboxes.Get(ctx, id); {
	case err == nil:
		return nil
	case !errdefs.IsNotFound(err):
		return fmt.Errorf("pod %s: get sandbox: %w", id, err)
	}
	info, err := c.Containers.Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pod %s: get pause container: %w", id, err)
	}
	_, err = c.Sandboxes.Create(ctx, sandbox.Sandbox{
		ID:         id,
		Labels:     info.Labels,
		Runtime:    sandbox.RuntimeOpts{Name: info.Runtime.Name},
		Sandboxer:  PodSandboxer,
		Extensions: map[string]typeurl.Any{builtInSandbox: info.Extensions[builtInExtensions[KindPod]]},
	})
	if err != nil {
		return fmt.Errorf("pod %s: create sandbox: %w", id, err)
	}
	return nil
}

// SaveResources saves the resources of a pod after an update, as JSON of the built-in CRI.
func (c BuiltInCRI) SaveResources(ctx context.Context, id string, resources []byte) error {
	if err := c.KeepMetadata(ctx, id); err != nil {
		return err
	}
	extension := &anypb.Any{TypeUrl: builtInResourcesType, Value: resources}
	_, err := c.Sandboxes.Update(ctx,
		sandbox.Sandbox{ID: id, Extensions: map[string]typeurl.Any{builtInResources: extension}}, "extensions."+builtInResources)
	if err != nil {
		return fmt.Errorf("pod %s: save resources: %w", id, err)
	}
	return nil
}

// StopSandbox ends a pod of another sandbox controller than [PodSandboxer]. It is no error if it
// has ended.
func (c BuiltInCRI) StopSandbox(ctx context.Context, sandboxer, id string) error {
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
func (c BuiltInCRI) DeleteLease(ctx context.Context, podID string) error {
	if err := c.Leases.Delete(ctx, leases.Lease{ID: podID}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("pod %s: delete lease: %w", podID, err)
	}
	return nil
}
