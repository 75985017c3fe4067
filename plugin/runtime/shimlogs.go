// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"io"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

// ShimLogs calls the service of lite shims for the logs that they write. containerd has no API for
// it.
type ShimLogs struct {
	// Bundles is the directory with the bundles of our containerd namespace.
	Bundles string
}

// Reopen makes the shim of a task close its log file and open it again by name.
func (l ShimLogs) Reopen(ctx context.Context, id string) error {
	shim, err := dialShim(l.Bundles, id)
	if err != nil {
		return err
	}
	defer shim.Close()
	return errgrpc.ToNative(shim.Call(ctx, containerlog.Service, containerlog.MethodReopen, &taskapi.ConnectRequest{ID: id}, &emptypb.Empty{}))
}

// Follow returns the output of a task from now on. output is a method of [containerlog.Service].
// The stream ends with the output or with ctx, and must be closed. Each stream has a connection of
// its own, so that a slow reader does not block others.
func (l ShimLogs) Follow(ctx context.Context, id, output string) (io.ReadCloser, error) {
	shim, err := dialShim(l.Bundles, id)
	if err != nil {
		return nil, err
	}
	stream, err := shim.NewStream(ctx, &ttrpc.StreamDesc{StreamingServer: true}, containerlog.Service, output, &taskapi.ConnectRequest{ID: id})
	if err != nil {
		shim.Close()
		return nil, errgrpc.ToNative(err)
	}
	f := &outputStream{shim: shim, stream: stream}
	// The shim sends the first message when it has subscribed: no later output is missed.
	if err := f.receive(); err != nil {
		shim.Close()
		return nil, err
	}
	return f, nil
}

// outputStream reads a stream of output.
type outputStream struct {
	shim   *ttrpc.Client
	stream ttrpc.ClientStream
	rest   []byte
}

func (f *outputStream) receive() error {
	var chunk wrapperspb.BytesValue
	if err := f.stream.RecvMsg(&chunk); err != nil {
		if errors.Is(err, io.EOF) {
			return err
		}
		return errgrpc.ToNative(err)
	}
	f.rest = chunk.Value
	return nil
}

// Read implements io.Reader.
func (f *outputStream) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if err := f.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (f *outputStream) Close() error { return f.shim.Close() }
