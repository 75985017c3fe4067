// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
)

// Inspector reads containerd's metadata for verbose statuses.
type Inspector struct {
	Containers containers.Store
	Sandboxes  sandbox.Store
}

// Inspect returns a container as it was created, with its current spec, but without labels and
// record. For a stopped pod, which has no container, it returns the runtime only.
func (i Inspector) Inspect(ctx context.Context, id string) (Container, error) {
	info, err := i.Containers.Get(ctx, id)
	if errdefs.IsNotFound(err) {
		pod, err := i.Sandboxes.Get(ctx, id)
		return Container{ID: id, Runtime: pod.Runtime.Name}, err
	}
	if err != nil {
		return Container{}, err
	}
	ctr := Container{ID: id, Image: info.Image, Runtime: info.Runtime.Name, Snapshotter: info.Snapshotter, Sandbox: info.SandboxID}
	if ctr.Spec, err = decodeSpec(info); err != nil {
		return Container{}, err
	}
	if options := info.Runtime.Options; options.GetValue() != nil {
		if ctr.Options, err = typeurl.UnmarshalAny(options); err != nil {
			return Container{}, fmt.Errorf("decode runtime options: %w", err)
		}
	}
	return ctr, nil
}
