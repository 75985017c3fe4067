// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// verboseInfo is the value of "info" in a verbose status. Tools read the keys, which are those of
// the built-in CRI.
type verboseInfo struct {
	ChainID string        `json:"chainID"`
	Spec    ocispec.Image `json:"imageSpec"`
}

// Status returns an image by any of its references. For an image that does not exist, the response
// has no image and there is no error: the kubelet calls Status to decide whether to pull.
func (m *Manager) Status(ctx context.Context, spec *runtimeapi.ImageSpec, verbose bool) (*runtimeapi.ImageStatusResponse, error) {
	img, err := m.find(ctx, spec.GetImage())
	if errdefs.IsNotFound(err) {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	resp := &runtimeapi.ImageStatusResponse{Image: img.encode()}
	if !verbose {
		return resp, nil
	}
	info, err := json.Marshal(verboseInfo{ChainID: img.ChainID.String(), Spec: img.Spec})
	if err != nil {
		return nil, fmt.Errorf("image %s: verbose info: %w", img.ID, err)
	}
	resp.Info = map[string]string{"info": string(info)}
	return resp, nil
}
