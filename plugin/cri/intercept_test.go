// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// dial is [connect] for a client of the runtime service.
func dial(t *testing.T, s *Server) runtimeapi.RuntimeServiceClient {
	t.Helper()
	return runtimeapi.NewRuntimeServiceClient(connect(t, s))
}

// connect serves s on a socket, as containerd does, and returns a connection to it.
func connect(t *testing.T, s *Server) *grpc.ClientConn {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.Register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestCallsAreRejectedBeforeRecovery(t *testing.T) {
	s := New(Deps{})
	client := dial(t, s)
	_, err := client.Version(t.Context(), &runtimeapi.VersionRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("before SetReady: %v, want Unavailable", err)
	}
	s.SetReady()
	v, err := client.Version(t.Context(), &runtimeapi.VersionRequest{})
	if err != nil || v.GetRuntimeName() != "containerd" || v.GetRuntimeApiVersion() != "v1" {
		t.Errorf("Version = %v, %v", v, err)
	}
}

// Streams are rejected like unary calls.
func TestStreamsAreRejectedBeforeRecovery(t *testing.T) {
	conn := connect(t, New(Deps{}))
	streams := 0
	for _, service := range []grpc.ServiceDesc{runtimeapi.RuntimeService_ServiceDesc, runtimeapi.ImageService_ServiceDesc} {
		for _, desc := range service.Streams {
			streams++
			stream, err := conn.NewStream(t.Context(), &desc, "/"+service.ServiceName+"/"+desc.StreamName)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(&runtimeapi.VersionResponse{}); status.Code(err) != codes.Unavailable {
				t.Errorf("%s before SetReady: %v, want Unavailable", desc.StreamName, err)
			}
		}
	}
	if streams < 7 {
		t.Errorf("the services have %d streams, want the six lists and the events at least", streams)
	}
}

func TestStreamHasNamespaceAndErrorClass(t *testing.T) {
	s := New(Deps{})
	s.SetReady()
	desc := grpc.StreamDesc{StreamName: "StreamContainers", Handler: func(_ any, stream grpc.ServerStream) error {
		if ns, _ := namespaces.Namespace(stream.Context()); ns != "k8s.io" {
			t.Errorf("containerd's namespace is %q", ns)
		}
		return fmt.Errorf("container web: %w", errdefs.ErrNotFound)
	}}
	err := s.stream(s, contextStream{ctx: t.Context()}, desc)
	if status.Code(err) != codes.NotFound {
		t.Errorf("NotFound became %v", err)
	}
}

func TestUnknownRPCIsUnimplemented(t *testing.T) {
	s := New(Deps{})
	s.SetReady()
	_, err := dial(t, s).CheckpointContainer(t.Context(), &runtimeapi.CheckpointContainerRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("CheckpointContainer = %v, want Unimplemented", err)
	}
}

func TestErrorClassesBecomeCodes(t *testing.T) {
	s := New(Deps{})
	s.SetReady()
	info := &grpc.UnaryServerInfo{FullMethod: "/runtime.v1.RuntimeService/UpdateContainerResources"}
	for _, tc := range []struct {
		err  error
		want codes.Code
	}{
		{errdefs.ErrNotFound, codes.NotFound},
		{errdefs.ErrInvalidArgument, codes.InvalidArgument},
		{errdefs.ErrAlreadyExists, codes.AlreadyExists},
		{errdefs.ErrFailedPrecondition, codes.FailedPrecondition},
		{errdefs.ErrUnavailable, codes.Unavailable},
		{errdefs.ErrNotImplemented, codes.Unimplemented},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{errors.New("runc: exit status 1"), codes.Unknown},
	} {
		cause := fmt.Errorf("container web: start task: %w", tc.err)
		_, err := s.call(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{}, info, func(ctx context.Context, _ any) (any, error) {
			if ns, _ := namespaces.Namespace(ctx); ns != "k8s.io" {
				t.Errorf("containerd's namespace is %q", ns)
			}
			return nil, cause
		})
		if status.Code(err) != tc.want {
			t.Errorf("%v became %s, want %s", tc.err, status.Code(err), tc.want)
		}
		if !strings.Contains(status.Convert(err).Message(), "container web: start task") {
			t.Errorf("message %q lost its object or step", status.Convert(err).Message())
		}
	}
}

// Log lines name objects. No other part of a config, above all its environment, is logged.
func TestLogFieldsHaveNoSecrets(t *testing.T) {
	const secret = "hunter2"
	requests := []any{
		&runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{
			Metadata:    &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default"},
			Annotations: map[string]string{"token": secret},
		}},
		&runtimeapi.CreateContainerRequest{PodSandboxId: "p1", Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "app"},
			Image:    &runtimeapi.ImageSpec{Image: "busybox"},
			Envs:     []*runtimeapi.KeyValue{{Key: "PASSWORD", Value: []byte(secret)}},
			Command:  []string{"login", secret},
		}},
		&runtimeapi.PullImageRequest{
			Image: &runtimeapi.ImageSpec{Image: "busybox"},
			Auth:  &runtimeapi.AuthConfig{Password: secret},
		},
		&runtimeapi.ExecSyncRequest{ContainerId: "c1", Cmd: []string{"echo", secret}},
	}
	for _, req := range requests {
		f := fields(req)
		if len(f) == 0 {
			t.Errorf("%T has no fields", req)
		}
		if strings.Contains(fmt.Sprint(f), secret) {
			t.Errorf("%T: the log has a secret: %v", req, f)
		}
	}
}

func TestRoutineCallsAreLoggedAtDebug(t *testing.T) {
	for method, quiet := range map[string]bool{
		"ListContainers": true, "PodSandboxStatus": true, "Version": true, "ContainerStats": true, "ImageFsInfo": true,
		"ExecSync": true, "StreamContainers": true, "RunPodSandbox": false, "StopContainer": false, "PullImage": false, "UpdateContainerResources": false,
	} {
		if isRoutine(method) != quiet {
			t.Errorf("isRoutine(%s) = %v", method, !quiet)
		}
	}
}
