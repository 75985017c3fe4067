// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

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
	Stats      Stats
	Node       Node
	Containerd Containerd
	// ShowEnvValues shows the values of environment variables in verbose statuses.
	ShowEnvValues bool
}

// Containerd has the containers that stand for containers and for pods, by their ids.
type Containerd interface {
	Inspect(ctx context.Context, id string) (runtime.Container, error)
}

// Node answers what is asked of the runtime as a whole.
type Node interface {
	// NetworkStatus is nil when pods can get a network, and says what is
	// missing otherwise.
	NetworkStatus() error
	// Handlers are the runtime handlers with their features, the default one
	// also under the empty name.
	Handlers() []*runtimeapi.RuntimeHandler
	// SystemdCgroup tells which cgroup driver the kubelet must use.
	SystemdCgroup() bool
	// UsePodCIDRs makes a network configuration for the node's pod CIDRs, where
	// the administrator has given a template and there is none.
	UsePodCIDRs(ctx context.Context, cidrs string) error
	// Deprecations are the messages about features in use that a later release
	// will not have, by their id, but for those that the administrator ignores.
	Deprecations(ctx context.Context) (map[string]string, error)
	// Info is what `crictl info` shows beside the status: JSON by key.
	Info(ctx context.Context) (map[string]string, error)
}

// Server is both services of the CRI.
type Server struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer
	Deps
	ready atomic.Bool
}

// New returns a server that answers Unavailable until [Server.SetReady].
func New(deps Deps) *Server { return &Server{Deps: deps} }

// SetReady opens the gate: pods and containers are recovered.
func (s *Server) SetReady() { s.ready.Store(true) }

// Register registers both services. containerd owns the gRPC server and offers
// no place for an interceptor, so that each method gets ours.
func (s *Server) Register(g grpc.ServiceRegistrar) {
	for _, service := range []grpc.ServiceDesc{
		runtimeapi.RuntimeService_ServiceDesc,
		runtimeapi.ImageService_ServiceDesc,
	} {
		intercepted := s.intercept(service)
		g.RegisterService(&intercepted, s)
	}
}
