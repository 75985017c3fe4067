// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ExecSync runs a command in a container and waits for it, at most timeout seconds; 0 means no
// limit. A non-zero exit code is not an error.
func (s *Server) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if req.GetTimeout() < 0 {
		return nil, fmt.Errorf("exec: timeout: %d is negative: %w", req.GetTimeout(), errdefs.ErrInvalidArgument)
	}
	result, err := s.Containers.ExecSync(ctx, req.GetContainerId(), req.GetCmd(), seconds(req.GetTimeout()))
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecSyncResponse{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: int32(result.Code)}, nil
}

// seconds converts a timeout of the CRI. A negative one becomes 0; one that exceeds time.Duration
// is clamped.
func seconds(n int64) time.Duration {
	const longest = math.MaxInt64 / int64(time.Second)
	return time.Duration(min(max(n, 0), longest)) * time.Second
}

// Exec returns a URL that runs a command in a container.
func (s *Server) Exec(_ context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return s.Streams.Exec(req)
}

// Attach returns a URL that connects to a container.
func (s *Server) Attach(_ context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return s.Streams.Attach(req)
}

// PortForward returns a URL that connects to ports of a pod.
func (s *Server) PortForward(_ context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return s.Streams.PortForward(req)
}
