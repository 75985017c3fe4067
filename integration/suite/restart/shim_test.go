// SPDX-License-Identifier: Apache-2.0

package restart

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// podTask checks what cAdvisor in a kubelet needs: a container of kind sandbox and a cgroup, both
// with the pod's ID, and the pod's network counters under the PID of the task. A restart of the
// daemon must not change them.
func podTask(t *testing.T, b bench) {
	p := b.start(t, "task")
	b.checkTask(t, p)
	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.checkTask(t, p)
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

func (b bench) checkTask(t *testing.T, p pod) {
	t.Helper()
	sandboxes, err := harness.Output(b.Ctr(t.Context(), "-n", harness.Namespace,
		"containers", "ls", "-q", `labels."io.cri-containerd.kind"==sandbox`))
	if err != nil || strings.TrimSpace(sandboxes) != p.id {
		t.Errorf("containers of kind sandbox: %q, %v, want %s", sandboxes, err, p.id)
	}
	const procs = "cgroup.procs"
	if _, err := os.Stat(harness.CgroupFile(b.ContainerCgroup(p.config, p.id), "memory/"+procs, procs)); err != nil {
		t.Errorf("the pod has no cgroup: %v", err)
	}
	pid, err := b.taskPID(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil || !strings.Contains(string(counters), "eth0:") {
		t.Errorf("network counters of the pod's task %d: %v\n%s", pid, err, counters)
	}
}

// taskPID returns the PID of a task from containerd.
func (b bench) taskPID(ctx context.Context, id string) (uint32, error) {
	client, err := b.Containerd()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx = namespaces.WithNamespace(ctx, harness.Namespace)
	container, err := client.LoadContainer(ctx, id)
	if err != nil {
		return 0, err
	}
	task, err := container.Task(ctx, nil)
	if err != nil {
		return 0, err
	}
	return task.Pid(), nil
}

// shimKilled kills the shim of a pod with SIGKILL: its container has exited, and the pod must be
// usable again at once.
func shimKilled(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock || b.Handler != harness.HandlerLite {
		t.Skip("a pod that has a process stops with its shim")
	}
	p := b.start(t, "shimless")
	b.killShim(t)
	status, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	if status.ExitCode != 128+int32(syscall.SIGKILL) {
		t.Errorf("container of the killed shim: exit code %d, reason %s", status.ExitCode, status.Reason)
	}
	p = b.another(t, p)
	b.checkRunning(t, p)
	b.checkTask(t, p)
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// shimAndDaemonKilled kills the shim while no daemon runs.
func shimAndDaemonKilled(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock || b.Handler != harness.HandlerLite {
		t.Skip("a pod that has a process stops with its shim")
	}
	p := b.start(t, "forlorn")
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killShim(t)
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
		t.Fatal(err)
	}
	p = b.another(t, p)
	b.checkRunning(t, p)
	b.checkTask(t, p)
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

func (b bench) killShim(t *testing.T) {
	t.Helper()
	shims, err := b.Processes("containerd-shim")
	if err != nil || len(shims) != 1 {
		t.Fatalf("shims %v, %v; want one", shims, err)
	}
	if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// another runs the next attempt of the pod's container, as the kubelet does. It must succeed at the
// first try.
func (b bench) another(t *testing.T, p pod) pod {
	t.Helper()
	config := harness.ContainerConfig(p.config, "main", image.Busybox, "sh", "-c", script)
	config.Metadata.Attempt = 1
	var err error
	if p.container, err = b.Run(t.Context(), p.id, p.config, config); err != nil {
		t.Fatalf("another container in the pod: %v", err)
	}
	p.pid = b.pid(t, p)
	return p
}
