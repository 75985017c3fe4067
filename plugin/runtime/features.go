// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// Features returns the features of the OCI runtime behind a shim, as the shim's command -info
// prints them.
func (c *Client) Features(ctx context.Context, shim string, options any) (*features.Features, error) {
	request := &types.RuntimeRequest{RuntimePath: shim}
	encoded, err := encodeOptions(options)
	if err != nil {
		return nil, err
	}
	if encoded != nil {
		request.Options = typeurl.MarshalProto(encoded)
	}
	answer, err := c.containerd.IntrospectionService().PluginInfo(ctx, "io.containerd.runtime.v2", "task", request)
	if err != nil {
		return nil, fmt.Errorf("run shim %s -info: %w", shim, err)
	}
	info := new(types.RuntimeInfo)
	if err := typeurl.UnmarshalTo(answer.GetExtra(), info); err != nil {
		return nil, fmt.Errorf("info of shim %s: %w", shim, err)
	}
	found := new(features.Features)
	if err := typeurl.UnmarshalTo(info.GetFeatures(), found); err != nil {
		return nil, fmt.Errorf("features of shim %s: %w", shim, err)
	}
	return found, nil
}
