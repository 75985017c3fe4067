// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/event"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/stream"
)

// Deps are the managers behind the RPCs.
type Deps struct {
	Pods       *pod.Manager
	Containers *container.Manager
	Images     Images
	Streams    *stream.Server
	Events     *event.Hub
	Activity   *activity.Log
	Stats      Stats
	Node       Node
	Containerd Containerd
	// RuntimeType returns the runtime type of a handler.
	RuntimeType func(handler string) string
	// ShowEnvValues reports whether verbose statuses have the values of environment variables.
	ShowEnvValues func() bool
}

// Containerd returns the containers in containerd's metadata that represent pods and containers, by
// id.
type Containerd interface {
	Inspect(ctx context.Context, id string) (runtime.Container, error)
}

// Node answers the RPCs about the node and the runtime as a whole.
type Node interface {
	// NetworkStatus returns nil if pods can get a network, otherwise an error that says what is
	// missing.
	NetworkStatus() error
	// Handlers returns the runtime handlers with their features. The default handler is also listed
	// under the empty name.
	Handlers() []*runtimeapi.RuntimeHandler
	// SystemdCgroup reports whether the kubelet must use the systemd cgroup driver.
	SystemdCgroup() bool
	// UsePodCIDRs writes a CNI configuration for the node's pod CIDRs, if the administrator has
	// configured a template and there is no configuration yet.
	UsePodCIDRs(ctx context.Context, cidrs string) error
	// Deprecations returns messages about features in use that a later release removes, by id,
	// without those that the administrator ignores.
	Deprecations(ctx context.Context) (map[string]string, error)
	// Info returns what `crictl info` shows beside the status: JSON by key.
	Info(ctx context.Context) (map[string]string, error)
}

// Server implements both services of the CRI.
type Server struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer
	Deps
	ready atomic.Bool
}

// New returns a server that answers Unavailable until [Server.SetReady].
func New(deps Deps) *Server { return &Server{Deps: deps} }

// SetReady makes the server accept calls, once pods and containers are recovered.
func (s *Server) SetReady() { s.ready.Store(true) }

// Register registers both services. It wraps each method, since containerd owns the gRPC server and
// has no hook for interceptors.
func (s *Server) Register(g grpc.ServiceRegistrar) {
	for _, service := range []grpc.ServiceDesc{
		runtimeapi.RuntimeService_ServiceDesc,
		runtimeapi.ImageService_ServiceDesc,
	} {
		intercepted := s.intercept(service)
		g.RegisterService(&intercepted, s)
	}
}
