// SPDX-License-Identifier: Apache-2.0

// Package badinput sends the daemon requests that it must refuse, as raw CRI requests without any
// check in a client. Every case expects an error with the gRPC code that describes the mistake to
// the kubelet and to users, and no resource left behind.
//
// The codes are a promise of containerd-lite: InvalidArgument is a mistake in the request,
// FailedPrecondition one on the node or in the image, NotFound an object that does not exist,
// Unknown the error of an external program, with its message. Stock containerd, as a control, need
// not return them.
package badinput

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// group is a test with its own pods. The leak check compares the host before and after it.
type group struct {
	name string
	run  func(*testing.T, bench)
}

func TestBadInput(t *testing.T) {
	b := newBench(t)
	for _, g := range []group{
		{"incomplete requests", incomplete},
		{"unknown ids", unknownIDs},
		{"unknown ids that are no error", unknownIDsAreFine},
		{"unknown handler", unknownHandler},
		{"duplicate pod", duplicatePod},
		{"a retry takes over", retriedPod},
		{"duplicate container", duplicateContainer},
		{"create in a stopped pod", stoppedPod},
		{"bad containers", badContainers},
		{"command not found", commandNotFound},
		{"exec of a missing command", execNotFound},
		{"OCI runtime not installed", noRuntime},
		{"shim not installed", noShim},
		{"CNI plugin fails at ADD", cniAddFails},
		{"CNI plugin answers null", cniAnswersNull},
		{"CNI plugin fails once at DEL", cniDelFails},
		{"CNI config missing", cniMissing},
		{"pulls", pulls},
	} {
		b.NoLeaks(t, g.name, func(t *testing.T) { g.run(t, b) })
	}
}

type bench struct{ harness.Session }

func newBench(t *testing.T) bench {
	t.Helper()
	return benchWith(t, harness.FromEnv())
}

func benchWith(t *testing.T, options harness.Options) bench {
	t.Helper()
	return bench{harness.OpenWith(t, options, image.Busybox)}
}

// want fails the test unless err has the code that containerd-lite promises. Another code of stock
// containerd is only logged.
func (b bench) want(t *testing.T, what string, err error, code codes.Code) {
	t.Helper()
	got := status.Code(err)
	switch {
	case got == code:
	case b.Options.Daemon == harness.Stock && code != codes.OK:
		t.Logf("%s: containerd answers %s where containerd-lite promises %s: %v", what, got, code, err)
	default:
		t.Errorf("%s: got %s (%v), want %s", what, got, err, code)
	}
}

func (b bench) remove(t *testing.T, pod string) {
	t.Helper()
	if err := b.RemovePod(harness.After(t), pod); err != nil {
		t.Errorf("remove pod: %v", err)
	}
}

// refused runs a pod that must be refused, and removes it if it runs.
func (b bench) refused(t *testing.T, what string, request *runtimeapi.RunPodSandboxRequest, code codes.Code) error {
	t.Helper()
	answer, err := b.RunPodSandbox(t.Context(), request)
	b.want(t, what, err, code)
	if err == nil {
		b.remove(t, answer.PodSandboxId)
	}
	return err
}

// create creates a container.
func (b bench) create(t *testing.T, pod string, podConfig *runtimeapi.PodSandboxConfig, config *runtimeapi.ContainerConfig) (string, error) {
	t.Helper()
	answer, err := b.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
		PodSandboxId: pod, SandboxConfig: podConfig, Config: config,
	})
	return answer.GetContainerId(), err
}
