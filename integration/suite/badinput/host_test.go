// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func commandNotFound(t *testing.T, b bench) {
	config := b.PodConfig("command")
	pod := b.Pod(t, config)
	id, err := b.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "/no/such/program"))
	b.want(t, "start", err, codes.Unknown)
	if err == nil || !strings.Contains(status.Convert(err).Message(), "/no/such/program") {
		t.Errorf("the error does not name the program: %v", err)
	}
	answer, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	// containerd deletes a task that it could not create. That no task exists must not be an error.
	if log := b.Daemon.LogTail(1000); b.Handler == harness.HandlerLite && strings.Contains(log, "failed to delete task") {
		t.Errorf("the log has an error of the cleanup:\n%s", log)
	}
	s := answer.Status
	if s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 128 || s.Reason != "StartError" {
		t.Errorf("container state %s, exit code %d, reason %q; want exited, 128, StartError", s.State, s.ExitCode, s.Reason)
	}
}

func execNotFound(t *testing.T, b bench) {
	config := b.PodConfig("exec")
	pod := b.Pod(t, config)
	id, err := b.Run(t.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"/no/such/program"}})
	b.want(t, "exec of a missing program", err, codes.Unknown)
	_, err = b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id})
	b.want(t, "exec without a command", err, codes.InvalidArgument)
	if _, err = b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}}); err != nil {
		t.Errorf("exec after the failed ones: %v", err)
	}
}

// noRuntime runs a container with a handler whose OCI runtime is not installed. If the pod has a
// process, the pod is refused; otherwise its container is.
func noRuntime(t *testing.T, b bench) { b.handlerBroken(t, harness.HandlerNoRuntime) }

func noShim(t *testing.T, b bench) { b.handlerBroken(t, harness.HandlerNoShim) }

func (b bench) handlerBroken(t *testing.T, handler string) {
	t.Helper()
	config := b.PodConfig("broken")
	answer, err := b.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err == nil {
		t.Cleanup(func() { b.remove(t, answer.PodSandboxId) })
		_, err = b.Run(t.Context(), answer.PodSandboxId, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	}
	b.want(t, "run with the handler "+handler, err, codes.FailedPrecondition)
}

func cniAddFails(t *testing.T, b bench) {
	script := `[ "$CNI_COMMAND" != ADD ] && exec $PLUGIN
echo '{"cniVersion": "1.0.0", "code": 100, "msg": "no more tunes"}'; exit 1`
	replace(t, b, "tuning", script)
	err := b.refused(t, "CNI plugin fails at ADD", &runtimeapi.RunPodSandboxRequest{Config: b.PodConfig("add")}, codes.Unknown)
	if message := status.Convert(err).Message(); !strings.Contains(message, "no more tunes") {
		t.Errorf("the error does not contain the plugin's message: %s", message)
	}
}

// cniAnswersNull replaces a plugin by one whose answer to ADD used to crash the daemon.
func cniAnswersNull(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd crashes")
	}
	for _, answer := range []string{`{"cniVersion": "1.0.0", "interfaces": [null]}`, `{"cniVersion": "1.0.0", "ips": [null]}`, `null`} {
		restore, err := b.Network.Replace("tuning", `[ "$CNI_COMMAND" != ADD ] && exec $PLUGIN
echo '`+answer+`'`)
		if err != nil {
			t.Fatal(err)
		}
		err = b.refused(t, answer, &runtimeapi.RunPodSandboxRequest{Config: b.PodConfig("null")}, codes.FailedPrecondition)
		if message := status.Convert(err).Message(); !strings.Contains(message, "bin/tuning") {
			t.Errorf("the error does not name the plugin: %s", message)
		}
		if err := restore(); err != nil {
			t.Fatal(err)
		}
	}
}

// cniDelFails replaces a plugin by one that fails at the first DEL: the second stop must release
// the pod's network.
func cniDelFails(t *testing.T, b bench) {
	pod, err := b.RunPod(t.Context(), b.PodConfig("del"))
	if err != nil {
		t.Fatal(err)
	}
	mark := b.Path("del-failed")
	script := `[ "$CNI_COMMAND" != DEL ] || [ -e ` + mark + ` ] && exec $PLUGIN
touch ` + mark + `
echo '{"cniVersion": "1.0.0", "code": 100, "msg": "not now"}'; exit 1`
	replace(t, b, "tuning", script)
	_, err = b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod})
	b.want(t, "CNI plugin fails at DEL", err, codes.Unknown)
	b.remove(t, pod)
}

func replace(t *testing.T, b bench, plugin, script string) {
	t.Helper()
	restore, err := b.Network.Replace(plugin, script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := restore(); err != nil {
			t.Error(err)
		}
	})
}

// cniMissing starts the daemon without a CNI config. The daemon must report that in its status, and
// run pods once it has a config.
func cniMissing(t *testing.T, b bench) {
	restore, err := b.Network.Hide()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.refused(t, "CNI config missing", &runtimeapi.RunPodSandboxRequest{Config: b.PodConfig("nocni")}, codes.FailedPrecondition)
	b.networkReady(t, false)
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	b.networkReady(t, true)
	b.Pod(t, b.PodConfig("cni"))
}

func (b bench) networkReady(t *testing.T, want bool) {
	t.Helper()
	if err := harness.Await(t.Context(), func() error {
		answer, err := b.Status(t.Context(), &runtimeapi.StatusRequest{})
		if err != nil {
			return err
		}
		for _, condition := range answer.Status.Conditions {
			if condition.Type == runtimeapi.NetworkReady && condition.Status != want {
				return status.Errorf(codes.Unavailable, "NetworkReady is %v, want %v", condition.Status, want)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// pulls pulls images that the registry serves with faults.
func pulls(t *testing.T, b bench) {
	for _, c := range []struct {
		name, ref string
		code      codes.Code
	}{
		{"not found", faulty(harness.FaultNotFound), codes.NotFound},
		{"unauthorized", faulty(harness.FaultUnauthorized), codes.Unauthenticated},
		{"internal error", faulty(harness.FaultBroken), codes.Unknown}, // RegistryUnavailable
		{"wrong digest", faulty(harness.FaultDigest), codes.DataLoss},
		{"truncated layer", faulty(harness.FaultTruncated), codes.DataLoss},
		{"no such tag", "docker.io/library/busybox:absent", codes.NotFound},
		{"no reference", "docker.io/Library/UPPER:x", codes.InvalidArgument},
		{"no name", "", codes.InvalidArgument},
	} {
		if strings.Contains(c.ref, "faulty") {
			if err := b.Registry.Push(t.Context(), c.ref, b.Registry.Image(image.Nginx)); err != nil {
				t.Fatal(err)
			}
		}
		b.want(t, c.name, b.Pull(t.Context(), c.ref), c.code)
	}
	answer, err := b.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range answer.Images {
		for _, tag := range img.RepoTags {
			if strings.Contains(tag, "faulty") {
				t.Errorf("an image that was not pulled is listed: %s", tag)
			}
		}
	}
}

func faulty(fault string) string { return "docker.io/faulty/" + fault + "/nginx:latest" }
