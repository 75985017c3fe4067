// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// Container is a container in containerd's metadata.
type Container struct {
	ID          string
	Kind        Kind
	Labels      map[string]string // of an image or a request; reserved ones are dropped
	Image       string            // name of the image in containerd; "" for none
	Runtime     string            // runtime type
	Options     any               // runtime options, nil for none
	Snapshotter string            // of the snapshot; "" if the spec names the root
	Keeps       []string          // keys of other snapshots to keep until it is deleted
	Spec        *specs.Spec
	Record      any    // saved as JSON; nil for none
	BuiltIn     []byte // metadata for the built-in CRI, in its JSON; nil for none
	// Sandbox is the ID of a pod. The task joins the shim of the pod's running task without a call
	// of the shim's start command. With "" containerd calls the start command.
	Sandbox string
}

// CreateContainer saves a container. The key of its snapshot, if it has one, is the container's ID.
func (c *Client) CreateContainer(ctx context.Context, ctr Container) error {
	defer onDisk(ctx, "create the record of container", ctr.ID)()
	spec, err := typeurl.MarshalAny(ctr.Spec)
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	options, err := encodeOptions(ctr.Options)
	if err != nil {
		return err
	}
	info := containers.Container{
		ID:      ctr.ID,
		Labels:  gcLabels(ctr),
		Image:   ctr.Image,
		Runtime: containers.RuntimeInfo{Name: ctr.Runtime, Options: options},
		Spec:    spec,

		SandboxID: ctr.Sandbox,
	}
	if ctr.Snapshotter != "" {
		info.Snapshotter, info.SnapshotKey = ctr.Snapshotter, ctr.ID
	}
	if info.Extensions, err = ctr.extensions(); err != nil {
		return err
	}
	if _, err = c.containerd.ContainerService().Create(ctx, info); err != nil {
		return err
	}
	return c.unlease(ctx, ctr.Snapshotter, ctr.Keeps)
}

// extensions returns what is saved of a container, by name.
func (ctr Container) extensions() (all map[string]typeurl.Any, err error) {
	if ctr.Record != nil {
		if all, err = encode(ctr.Record); err != nil {
			return nil, err
		}
	}
	if ctr.BuiltIn != nil {
		if all == nil {
			all = map[string]typeurl.Any{}
		}
		all[builtInExtensions[ctr.Kind]] = &anypb.Any{TypeUrl: builtInTypes[ctr.Kind], Value: ctr.BuiltIn}
	}
	return all, nil
}

// gcLabels returns the labels of a container, and those by which containerd's garbage collector
// finds the snapshots in Keeps.
func gcLabels(ctr Container) map[string]string {
	labels := ctr.Kind.Labels(ctr.Labels)
	for i, key := range ctr.Keeps {
		labels[fmt.Sprintf("containerd.io/gc.ref.snapshot.%s/%d", ctr.Snapshotter, i)] = key
	}
	return labels
}

func encodeOptions(options any) (typeurl.Any, error) {
	if options == nil {
		return nil, nil
	}
	encoded, err := typeurl.MarshalAny(options)
	if err != nil {
		return nil, fmt.Errorf("encode runtime options: %w", err)
	}
	return encoded, nil
}

// SaveContainer replaces the record of a container and, unless it is nil, the metadata for the
// built-in CRI. The container must exist.
func (c *Client) SaveContainer(ctx context.Context, ctr Container) error {
	defer onDisk(ctx, "save the record of container", ctr.ID)()
	extensions, err := ctr.extensions()
	if err != nil {
		return err
	}
	_, err = c.containerd.ContainerService().Update(ctx,
		containers.Container{ID: ctr.ID, Extensions: extensions}, extensionPaths(extensions)...)
	return err
}

// Spec returns the OCI spec and the labels of a container.
func (c *Client) Spec(ctx context.Context, id string) (*specs.Spec, map[string]string, error) {
	info, err := c.containerd.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	spec, err := decodeSpec(info)
	return spec, info.Labels, err
}

func decodeSpec(info containers.Container) (*specs.Spec, error) {
	spec := new(specs.Spec)
	if err := json.Unmarshal(info.Spec.GetValue(), spec); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	return spec, nil
}

// SaveSpec replaces the OCI spec of a container. A running task is not affected.
func (c *Client) SaveSpec(ctx context.Context, id string, spec *specs.Spec) error {
	defer onDisk(ctx, "save the spec of container", id)()
	encoded, err := typeurl.MarshalAny(spec)
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	_, err = c.containerd.ContainerService().Update(ctx, containers.Container{ID: id, Spec: encoded}, "spec")
	return err
}

// DeleteContainer removes a container and its snapshot. It is no error if they do not exist. The
// task must have been deleted before.
func (c *Client) DeleteContainer(ctx context.Context, id string) error {
	defer onDisk(ctx, "delete the record of container", id)()
	info, err := c.containerd.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var snapshotErr error
	if info.SnapshotKey != "" {
		snapshotErr = c.RemoveSnapshot(ctx, info.Snapshotter, info.SnapshotKey)
	}
	if snapshotErr != nil {
		return snapshotErr
	}
	if err := c.containerd.ContainerService().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// Containers returns the records of our containers, without those of the pods' tasks.
func (c *Client) Containers(ctx context.Context) ([]Record, error) {
	list, err := c.containerd.ContainerService().List(ctx, KindContainer.filter())
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var records []Record
	for _, info := range list {
		if ext, ok := info.Extensions[recordExtension]; ok {
			builtIn := info.Extensions[builtInExtensions[KindContainer]] != nil
			records = append(records, Record{ID: info.ID, JSON: ext.GetValue(), BuiltIn: builtIn})
		}
	}
	return records, nil
}
