// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// namespace is containerd's namespace for all objects of Kubernetes.
const namespace = "k8s.io"

// intercept returns the service with each of its methods and streams wrapped in [Server.around].
func (s *Server) intercept(service grpc.ServiceDesc) grpc.ServiceDesc {
	service.Methods = slices.Clone(service.Methods)
	for i, method := range service.Methods {
		handle := method.Handler
		service.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, outer grpc.UnaryServerInterceptor) (any, error) {
			return handle(srv, ctx, decode, chain(outer, s.call))
		}
	}
	service.Streams = slices.Clone(service.Streams)
	for i, desc := range service.Streams {
		service.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
			return s.stream(srv, stream, desc)
		}
	}
	return service
}

// chain calls inner inside of outer, which may be nil.
func chain(outer, inner grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if outer == nil {
		return inner
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return inner(ctx, req, info, handler)
		})
	}
}

// call is [Server.around] for a unary RPC.
func (s *Server) call(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	err = s.around(ctx, path.Base(info.FullMethod), fields(req), func(ctx context.Context) (err error) {
		timer, start := s.timer(req), time.Now()
		answer, err = handler(ctx, req)
		if err == nil && timer != nil {
			metrics.Since(timer, start)
		}
		switch created := answer.(type) {
		case *runtimeapi.RunPodSandboxResponse:
			activity.Created(ctx, created.GetPodSandboxId())
		case *runtimeapi.CreateContainerResponse:
			activity.Created(ctx, created.GetContainerId())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// stream is [Server.around] for a streaming RPC. The request has no ids to log: it is a filter.
func (s *Server) stream(srv any, stream grpc.ServerStream, desc grpc.StreamDesc) error {
	return s.around(stream.Context(), desc.StreamName, nil, func(ctx context.Context) error {
		start := time.Now()
		err := desc.Handler(srv, contextStream{stream, ctx})
		if timer := streamTimers[desc.StreamName]; err == nil && timer != nil {
			metrics.Since(timer, start)
		}
		return err
	})
}

// contextStream is a stream whose context is replaced.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }

// around wraps every RPC. It returns Unavailable until the records are loaded, sets containerd's
// namespace, writes the log line, records the call in the activity, and converts an error to the
// gRPC code of its class. A panic becomes Internal.
func (s *Server) around(ctx context.Context, method string, named log.Fields, do func(context.Context) error) error {
	if !s.ready.Load() {
		return status.Error(codes.Unavailable, "the CRI is still recovering pods and containers; try again")
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	ctx = log.WithLogger(ctx, log.G(ctx).WithFields(named))
	start := time.Now()
	ctx, end := s.Activity.Begin(ctx, method, objects(named), isRoutine(method))
	err := guard.Call(ctx, method, func() error { return do(ctx) })
	end(err)
	logCall(ctx, method, time.Since(start), err)
	return errgrpc.ToGRPC(err)
}

// logCall writes the log line of an RPC: at warn if it failed, at debug if it is routine, else at
// info.
func logCall(ctx context.Context, method string, took time.Duration, err error) {
	entry := log.G(ctx).WithField("rpc", method).WithField("took", took.Round(time.Microsecond))
	switch {
	case err != nil:
		entry.WithError(err).Warn("CRI call")
	case isRoutine(method):
		entry.Debug("CRI call")
	default:
		entry.Info("CRI call")
	}
}

// isRoutine reports whether the kubelet repeats an RPC: a list, a status, statistics, or a probe
// (ExecSync).
func isRoutine(method string) bool {
	if strings.HasPrefix(method, "List") || strings.HasPrefix(method, "Stream") {
		return true
	}
	for _, suffix := range []string{"Status", "Stats", "Info", "Version", "RuntimeConfig", "ExecSync"} {
		if strings.HasSuffix(method, suffix) {
			return true
		}
	}
	return false
}

// maxField is the limit for a value of the caller in a log line, in bytes.
const maxField = 256

// fields returns the objects of a request for its log lines: ids and names, never other parts of
// the config.
func fields(req any) log.Fields {
	f := log.Fields{}
	add := func(key, value string) {
		if value != "" {
			f[key] = value[:min(len(value), maxField)]
		}
	}
	if r, ok := req.(interface{ GetPodSandboxId() string }); ok {
		add("pod", r.GetPodSandboxId())
	}
	if r, ok := req.(interface{ GetContainerId() string }); ok {
		add("container", r.GetContainerId())
	}
	addConfigFields(req, add)
	return f
}

// objects returns the fields of a log line as text.
func objects(f log.Fields) map[string]string {
	all := make(map[string]string, len(f))
	for key, value := range f {
		all[key], _ = value.(string) // it has no other values
	}
	return all
}

// addConfigFields adds the object that a request creates, pulls, removes or looks up by name.
func addConfigFields(req any, add func(key, value string)) {
	switch r := req.(type) {
	case *runtimeapi.RunPodSandboxRequest:
		meta := r.GetConfig().GetMetadata()
		add("pod", meta.GetNamespace()+"/"+meta.GetName())
	case *runtimeapi.CreateContainerRequest:
		add("container", r.GetConfig().GetMetadata().GetName())
		add("image", image.WithoutPassword(r.GetConfig().GetImage().GetImage()))
	case *runtimeapi.PullImageRequest:
		add("image", image.WithoutPassword(r.GetImage().GetImage()))
	case *runtimeapi.RemoveImageRequest:
		add("image", image.WithoutPassword(r.GetImage().GetImage()))
	case *runtimeapi.ImageStatusRequest:
		add("image", image.WithoutPassword(r.GetImage().GetImage()))
	}
}
