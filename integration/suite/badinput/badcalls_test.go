// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"context"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// call is a CRI call for one pod, container or image.
type call struct {
	name string
	do   func(ctx context.Context, id string) error
}

// TestBadCalls names objects that do not exist, and makes impossible requests for a running
// container.
func TestBadCalls(t *testing.T) {
	b := newBench(t)
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd answers most of these calls with other codes")
	}
	b.NoLeaks(t, "ids", func(t *testing.T) { badIDs(t, b) })
	b.NoLeaks(t, "images", func(t *testing.T) { badImages(t, b) })
	b.NoLeaks(t, "arguments", func(t *testing.T) { badArguments(t, b) })
}

// badIDs passes IDs to every call that takes one. An empty ID is an invalid argument; any other ID
// is not found, whatever its characters.
func badIDs(t *testing.T, b bench) {
	strange := []string{missing, "../../etc", "/", "*", "a\x00b", "a\nb", "ABC", strings.Repeat("f", 1<<20), "%s%n"}
	config := b.PodConfig("ids")
	b.Pod(t, config) // an empty ID must not select the only pod
	for _, c := range append(b.queries(config), b.endings()...) {
		b.want(t, c.name+" of an empty id", c.do(t.Context(), ""), codes.InvalidArgument)
	}
	for _, id := range strange {
		for _, c := range b.queries(config) {
			b.want(t, c.name+" of "+shown(id), c.do(t.Context(), id), codes.NotFound)
		}
		for _, c := range b.endings() {
			b.want(t, c.name+" of "+shown(id), c.do(t.Context(), id), codes.OK)
		}
	}
}

func shown(id string) string { return strings.ToValidUTF8(id[:min(len(id), 20)], "") }

// queries are the calls that fail if the object does not exist.
func (b bench) queries(config *runtimeapi.PodSandboxConfig) []call {
	container := harness.ContainerConfig(config, "main", image.Busybox)
	limits := &runtimeapi.LinuxContainerResources{CpuShares: 100}
	return []call{
		{"PodSandboxStatus", func(ctx context.Context, id string) error {
			return second(b.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id}))
		}},
		{"PodSandboxStats", func(ctx context.Context, id string) error {
			return second(b.PodSandboxStats(ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: id}))
		}},
		{"UpdatePodSandboxResources", func(ctx context.Context, id string) error {
			return second(b.UpdatePodSandboxResources(ctx, &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: id, Resources: limits}))
		}},
		{"PortForward", func(ctx context.Context, id string) error {
			return second(b.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: id, Port: []int32{80}}))
		}},
		{"CreateContainer", func(ctx context.Context, id string) error {
			return second(b.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: id, Config: container, SandboxConfig: config}))
		}},
		{"StartContainer", func(ctx context.Context, id string) error {
			return second(b.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id}))
		}},
		{"ContainerStatus", func(ctx context.Context, id string) error {
			return second(b.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id}))
		}},
		{"ContainerStats", func(ctx context.Context, id string) error {
			return second(b.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: id}))
		}},
		{"ReopenContainerLog", func(ctx context.Context, id string) error {
			return second(b.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id}))
		}},
		{"ExecSync", func(ctx context.Context, id string) error {
			return second(b.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}}))
		}},
		{"Exec", func(ctx context.Context, id string) error {
			return second(b.Exec(ctx, &runtimeapi.ExecRequest{ContainerId: id, Cmd: []string{"true"}, Stdout: true}))
		}},
		{"Attach", func(ctx context.Context, id string) error {
			return second(b.Attach(ctx, &runtimeapi.AttachRequest{ContainerId: id, Stdout: true}))
		}},
		{"UpdateContainerResources", func(ctx context.Context, id string) error {
			return second(b.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: limits}))
		}},
	}
}

// endings are the calls after which the object must not run or exist: they succeed if it never
// existed.
func (b bench) endings() []call {
	return []call{
		{"StopPodSandbox", func(ctx context.Context, id string) error {
			return second(b.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}))
		}},
		{"RemovePodSandbox", func(ctx context.Context, id string) error {
			return second(b.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}))
		}},
		{"StopContainer", func(ctx context.Context, id string) error {
			return second(b.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id}))
		}},
		{"RemoveContainer", func(ctx context.Context, id string) error {
			return second(b.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id}))
		}},
	}
}

// badImages uses image names that are invalid in any registry.
func badImages(t *testing.T, b bench) {
	for _, name := range []string{
		"", " ", "UPPER", "docker.io/UPPER/x", "../busybox", "a b", ":tag", "busybox:", "busybox@sha256:short", "https://docker.io/busybox",
		"busybox\n", "busybox\x00", "docker.io/" + strings.Repeat("a", 300), "busybox:" + strings.Repeat("t", 200),
	} {
		spec := &runtimeapi.ImageSpec{Image: name}
		for what, err := range map[string]error{
			"PullImage":   second(b.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec})),
			"ImageStatus": second(b.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: spec})),
			"RemoveImage": second(b.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: spec})),
		} {
			b.want(t, what+" of "+shown(name), err, codes.InvalidArgument)
		}
	}
	for what, err := range map[string]error{
		"PullImage":   second(b.PullImage(t.Context(), &runtimeapi.PullImageRequest{})),
		"ImageStatus": second(b.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{})),
		"RemoveImage": second(b.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{})),
	} {
		b.want(t, what+" without an image", err, codes.InvalidArgument)
	}
	for what, request := range map[string]*runtimeapi.PullImageRequest{
		"auth that is not base64": {Auth: &runtimeapi.AuthConfig{Auth: "!"}},
		"auth without a colon":    {Auth: &runtimeapi.AuthConfig{Auth: "YWJj"}},
		"a server without a host": {Auth: &runtimeapi.AuthConfig{Username: "a", Password: "b", ServerAddress: "https://"}},
		"an unknown handler":      {Image: &runtimeapi.ImageSpec{RuntimeHandler: "absent"}},
	} {
		if request.Image == nil {
			request.Image = &runtimeapi.ImageSpec{}
		}
		request.Image.Image = image.Httpd
		b.want(t, "PullImage with "+what, second(b.PullImage(t.Context(), request)), codes.InvalidArgument)
	}
}

// badArguments makes impossible requests for a running container and its pod.
func badArguments(t *testing.T, b bench) {
	config := b.PodConfig("arguments")
	pod := b.Pod(t, config)
	id, err := b.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	badStreams(t, b, pod, id)
	for name, limits := range badLimits() {
		_, err := b.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: limits})
		b.want(t, "update: "+name, err, codes.InvalidArgument)
		_, err = b.UpdatePodSandboxResources(t.Context(), &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: pod, Resources: limits})
		b.want(t, "update of the pod: "+name, err, codes.InvalidArgument)
		_, err = b.UpdatePodSandboxResources(t.Context(), &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: pod, Overhead: limits})
		b.want(t, "update of the pod's overhead: "+name, err, codes.InvalidArgument)
	}
	_, err = b.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id})
	b.want(t, "update without resources", err, codes.InvalidArgument)
	_, err = b.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: id})
	b.want(t, "start of a running container", err, codes.FailedPrecondition)
	if _, err := b.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_RUNNING); err != nil {
		t.Errorf("the container afterwards: %v", err)
	}
}

func badStreams(t *testing.T, b bench, pod, id string) {
	t.Helper()
	for name, request := range map[string]*runtimeapi.ExecSyncRequest{
		"no command":                 {},
		"an argument with NUL":       {Cmd: []string{"echo", "a\x00b"}},
		"a negative timeout":         {Cmd: []string{"true"}, Timeout: -1},
		"the most negative timeout":  {Cmd: []string{"true"}, Timeout: math.MinInt64},
		"no command, with a timeout": {Timeout: 1},
	} {
		request.ContainerId = id
		b.want(t, "ExecSync with "+name, second(b.ExecSync(t.Context(), request)), codes.InvalidArgument)
	}
	for name, request := range map[string]*runtimeapi.ExecRequest{
		"no command":            {Stdout: true},
		"an argument with NUL":  {Cmd: []string{"a\x00b"}, Stdout: true},
		"no stream":             {Cmd: []string{"true"}},
		"a terminal and stderr": {Cmd: []string{"true"}, Tty: true, Stdout: true, Stderr: true},
	} {
		request.ContainerId = id
		b.want(t, "Exec with "+name, second(b.Exec(t.Context(), request)), codes.InvalidArgument)
	}
	for name, request := range map[string]*runtimeapi.AttachRequest{
		"no stream":             {},
		"a terminal and stderr": {Tty: true, Stderr: true},
	} {
		request.ContainerId = id
		b.want(t, "Attach with "+name, second(b.Attach(t.Context(), request)), codes.InvalidArgument)
	}
	for _, port := range []int32{0, -1, 65536, math.MaxInt32, math.MinInt32} {
		_, err := b.PortForward(t.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: pod, Port: []int32{80, port}})
		b.want(t, "PortForward", err, codes.InvalidArgument)
	}
	// A timeout beyond any clock means no timeout.
	answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"echo", "on"}, Timeout: math.MaxInt64})
	if err != nil || string(answer.Stdout) != "on\n" {
		t.Errorf("ExecSync with the longest timeout: %q, %v", answer.GetStdout(), err)
	}
}
