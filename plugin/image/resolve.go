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

// Resolve returns the image that a container asks for: by tag, digest, id, the
// start of an id, or a name that is to be normalised ("busybox"). It is NotFound
// for an image that this node does not have, InvalidArgument for a reference
// that nothing can have, or that several images have.
func (m *Manager) Resolve(ctx context.Context, ref string) (Image, error) {
	img, err := m.find(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	resolved := *img
	resolved.Handle = m.handle(img)
	return resolved, nil
}

// ByID returns the image with this id; false for one that was removed. It reads memory only.
func (m *Manager) ByID(id string) (Image, bool) {
	img, ok := m.index.view.Load().byID[id]
	if !ok {
		return Image{}, false
	}
	return *img, true
}

// handle returns the image as containerd's client knows it.
func (m *Manager) handle(img *Image) client.Image {
	return m.deps.Handle(images.Image{Name: img.Name(), Target: img.Target})
}

// find looks up an image in the index. A name that is not there is read from
// containerd once more: it may be so new that its event is still on the way.
func (m *Manager) find(ctx context.Context, ref string) (*Image, error) {
	img, err := m.index.view.Load().find(ref)
	if !errdefs.IsNotFound(err) {
		return img, err
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	names, _ := spellings(ref)
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

// find looks up an image by any of its references.
func (v *imageView) find(ref string) (*Image, error) {
	names, isReference := spellings(ref)
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

// spellings returns the names that a reference may be recorded under: as it is
// written (images made by other tools have any name) and normalised, if it is a
// reference at all.
func spellings(ref string) (names []string, isReference bool) {
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
