// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// List returns the images, sorted by id, or the one that the filter names; none if there is no such
// image. It reads memory only.
func (m *Manager) List(_ context.Context, filter *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	view := m.index.view.Load()
	if ref := filter.GetImage().GetImage(); ref != "" {
		img, err := view.find(ref)
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []*runtimeapi.Image{img.encode()}, nil
	}
	out := make([]*runtimeapi.Image, 0, len(view.list))
	for _, img := range view.list {
		out = append(out, img.encode())
	}
	return out, nil
}
