// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
)

// Resolve returns the image that a container asks for: by tag, digest, id, prefix of an id, or a
// name that is normalised first ("busybox"). It returns NotFound for an image that this node does
// not have, and InvalidArgument for a malformed reference or a prefix that several images have.
func (m *Manager) Resolve(ctx context.Context, ref string) (Image, error) {
	img, err := m.find(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	resolved := *img
	resolved.Handle = m.handle(img)
	return resolved, nil
}

// ByID returns the image with this id; false if it was removed. It reads memory only.
func (m *Manager) ByID(id string) (Image, bool) {
	img, ok := m.index.view.Load().byID[id]
	if !ok {
		return Image{}, false
	}
	return *img, true
}

// handle returns the image of containerd's client.
func (m *Manager) handle(img *Image) client.Image {
	return m.deps.Handle(images.Image{Name: img.Name(), Target: img.Target})
}

// find looks up an image in the index. If a name is not in the index, find reads it from
// containerd, because the event of a new image may not have arrived yet.
func (m *Manager) find(ctx context.Context, ref string) (*Image, error) {
	img, err := m.index.view.Load().find(ref)
	if !errdefs.IsNotFound(err) {
		return img, err
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	names, _ := candidateNames(ref)
	for _, name := range names {
		if m.index.refresh(ctx, name) == nil {
			return m.index.view.Load().find(ref)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("image %q: look-up: %w", WithoutPassword(ref), ctx.Err())
		}
	}
	return nil, err
}

// find looks up an image by a tag, digest, id, prefix of an id or any name of a record.
func (v *imageView) find(ref string) (*Image, error) {
	names, isReference := candidateNames(ref)
	for _, name := range names {
		if img := v.byName[name]; img != nil {
			return img, nil
		}
	}
	if img := v.byID[ref]; img != nil {
		return img, nil
	}
	hex, isID := idPrefix(ref)
	if isID {
		if img, err := v.withPrefix(hex); img != nil || err != nil {
			return img, err
		}
	}
	if !isReference && !isID {
		return nil, fmt.Errorf("image %q: neither a reference nor an id: %w", WithoutPassword(ref), errdefs.ErrInvalidArgument)
	}
	return nil, fmt.Errorf("image %q: %w", WithoutPassword(ref), errdefs.ErrNotFound)
}

// candidateNames returns the names under which a reference may be recorded: as it is written
// (records of other tools can have any name) and, if it is a reference, normalised.
func candidateNames(ref string) (names []string, isReference bool) {
	named, err := reference.ParseDockerRef(ref)
	switch {
	case err != nil:
		return []string{ref}, false
	case named.String() == ref:
		return []string{ref}, true
	default:
		return []string{ref, named.String()}, true
	}
}
