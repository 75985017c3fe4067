// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"context"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// missing is an ID that no object has.
var missing = strings.Repeat("0", 64)

func incomplete(t *testing.T, b bench) {
	config := b.PodConfig("incomplete")
	noMetadata := b.PodConfig("incomplete")
	noMetadata.Metadata = nil
	noName := b.PodConfig("incomplete")
	noName.Metadata = &runtimeapi.PodSandboxMetadata{}
	b.refused(t, "pod without config", &runtimeapi.RunPodSandboxRequest{}, codes.InvalidArgument)
	b.refused(t, "pod without metadata", &runtimeapi.RunPodSandboxRequest{Config: noMetadata}, codes.InvalidArgument)
	if b.Options.Daemon == harness.Lite { // stock containerd runs it
		b.refused(t, "pod with empty metadata", &runtimeapi.RunPodSandboxRequest{Config: noName}, codes.InvalidArgument)
	}

	pod := b.Pod(t, config)
	_, err := b.create(t, pod, config, nil)
	b.want(t, "container without config", err, codes.InvalidArgument)
	container := harness.ContainerConfig(config, "main", image.Busybox)
	container.Metadata = nil
	_, err = b.create(t, pod, config, container)
	b.want(t, "container without metadata", err, codes.InvalidArgument)
	container = harness.ContainerConfig(config, "main", image.Busybox)
	container.Image = nil
	_, err = b.create(t, pod, config, container)
	b.want(t, "container without image", err, codes.InvalidArgument)
}

// unknownIDs uses, in every call with an ID, one that no object has.
func unknownIDs(t *testing.T, b bench) {
	ctx := t.Context()
	config := b.PodConfig("unknown")
	for _, c := range []struct {
		call string
		err  error
	}{
		{"PodSandboxStatus", second(b.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: missing}))},
		{"PodSandboxStats", second(b.PodSandboxStats(ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: missing}))},
		{"PortForward", second(b.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: missing, Port: []int32{80}}))},
		{"CreateContainer", second(b.create(t, missing, config, harness.ContainerConfig(config, "main", image.Busybox)))},
		{"StartContainer", second(b.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: missing}))},
		{"ContainerStatus", second(b.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: missing}))},
		{"ContainerStats", second(b.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: missing}))},
		{"ReopenContainerLog", second(b.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: missing}))},
		{"ExecSync", second(b.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: missing, Cmd: []string{"true"}}))},
		{"Exec", second(b.Exec(ctx, &runtimeapi.ExecRequest{ContainerId: missing, Cmd: []string{"true"}, Stdout: true}))},
		{"Attach", second(b.Attach(ctx, &runtimeapi.AttachRequest{ContainerId: missing, Stdout: true}))},
		{"UpdateContainerResources", b.update(ctx, missing)},
	} {
		b.want(t, c.call, c.err, codes.NotFound)
	}
}

func (b bench) update(ctx context.Context, id string) error {
	_, err := b.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: id, Linux: &runtimeapi.LinuxContainerResources{CpuShares: 100},
	})
	return err
}

func second[T any](_ T, err error) error { return err }

func unknownIDsAreFine(t *testing.T, b bench) {
	ctx := t.Context()
	for _, c := range []struct {
		call string
		err  error
	}{
		{"StopPodSandbox", second(b.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: missing}))},
		{"RemovePodSandbox", second(b.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: missing}))},
		{"StopContainer", second(b.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: missing}))},
		{"RemoveContainer", second(b.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: missing}))},
		{"RemoveImage", second(b.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: "docker.io/library/absent:latest"}}))},
	} {
		b.want(t, c.call, c.err, codes.OK)
	}
	answer, err := b.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: "docker.io/library/absent:latest"}})
	b.want(t, "ImageStatus", err, codes.OK)
	if answer.GetImage() != nil {
		t.Errorf("ImageStatus of a missing image: %v", answer.Image)
	}
}

func unknownHandler(t *testing.T, b bench) {
	b.refused(t, "unknown handler",
		&runtimeapi.RunPodSandboxRequest{Config: b.PodConfig("handler"), RuntimeHandler: "absent"}, codes.InvalidArgument)
}

func duplicatePod(t *testing.T, b bench) {
	b.Pod(t, b.PodConfig("twin"))
	other := b.PodConfig("twin")
	other.Hostname = "other"
	b.refused(t, "another pod of the same name", &runtimeapi.RunPodSandboxRequest{Config: other}, codes.AlreadyExists)
}

// retriedPod cancels a long call and repeats it, as the kubelet does: the second call must return
// the pod that the daemon continued to create for the first.
func retriedPod(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd answers that the name is reserved")
	}
	started, open := b.Path("add-started"), b.Path("add-open")
	replace(t, b, "tuning", `[ "$CNI_COMMAND" != ADD ] && exec $PLUGIN
cat >`+b.Path("add-stdin")+`; touch `+started+`
while [ ! -e `+open+` ]; do sleep 0.05; done; exec $PLUGIN <`+b.Path("add-stdin"))
	ctx, giveUp := context.WithCancel(t.Context())
	go func() {
		// The test's context ends a wait for a file that never appears.
		_ = harness.Await(t.Context(), func() error { _, err := os.Stat(started); return err })
		giveUp()
	}()
	_, err := b.RunPod(ctx, b.PodConfig("retried"))
	b.want(t, "the canceled call", err, codes.Canceled)
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	pod := b.Pod(t, b.PodConfig("retried"))
	answer, err := b.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(answer.Items) != 1 || answer.Items[0].Id != pod {
		t.Errorf("pods %v, %v; want only %s", answer.GetItems(), err, pod)
	}
}

func duplicateContainer(t *testing.T, b bench) {
	config := b.PodConfig("twins")
	pod := b.Pod(t, config)
	if _, err := b.create(t, pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000")); err != nil {
		t.Fatal(err)
	}
	_, err := b.create(t, pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "2000"))
	b.want(t, "another container of the same name", err, codes.AlreadyExists)
}

func stoppedPod(t *testing.T, b bench) {
	config := b.PodConfig("stopped")
	pod := b.Pod(t, config)
	if _, err := b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	_, err := b.create(t, pod, config, harness.ContainerConfig(config, "main", image.Busybox))
	b.want(t, "create in a stopped pod", err, codes.FailedPrecondition)
}

// badContainers checks containers whose creation is refused, each for another reason.
func badContainers(t *testing.T, b bench) {
	config := b.PodConfig("bad")
	pod := b.Pod(t, config)
	dangling := b.Path("dangling")
	if err := os.Symlink("absent", dangling); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*runtimeapi.ContainerConfig)
		code   codes.Code
	}{
		{"unknown image", func(c *runtimeapi.ContainerConfig) {
			c.Image.Image = "docker.io/library/absent:latest"
		}, codes.NotFound},
		{"unknown user name", func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.RunAsUsername = "unknown-user"
		}, codes.FailedPrecondition},
		{"user and group, but no user", func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.RunAsGroup = &runtimeapi.Int64Value{Value: 1000}
		}, codes.InvalidArgument},
		// A missing path that is no link is created, as the kubelet expects.
		{"mount source is a link to nothing", func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{HostPath: dangling, ContainerPath: "/mnt"}}
		}, codes.NotFound},
		{"mount source below a file", func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{HostPath: b.Daemon.Config + "/absent", ContainerPath: "/mnt"}}
		}, codes.InvalidArgument},
		{"relative mount", func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{HostPath: "some/where", ContainerPath: "/mnt"}}
		}, codes.InvalidArgument},
		{"device missing", func(c *runtimeapi.ContainerConfig) {
			c.Devices = []*runtimeapi.Device{{HostPath: "/dev/absent", ContainerPath: "/dev/absent", Permissions: "r"}}
		}, codes.NotFound},
		{"unknown capability", func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"FLY"}}
		}, codes.InvalidArgument},
		{"seccomp profile missing", func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{
				ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: b.Path("absent.json"),
			}
		}, codes.NotFound},
	} {
		container := harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000")
		c.change(container)
		id, err := b.create(t, pod, config, container)
		b.want(t, c.name, err, c.code)
		if err == nil {
			if _, err := b.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
				t.Error(err)
			}
		}
	}
}
