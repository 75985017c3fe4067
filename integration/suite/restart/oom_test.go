// SPDX-License-Identifier: Apache-2.0

package restart

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// hungry waits for the file /go, and then allocates memory without limit.
const hungry = "while [ ! -e /go ]; do sleep 0.1; done; x=a; while true; do x=$x$x; done"

// outOfMemory lets a container run out of memory while no daemon runs: the next daemon must report
// the reason.
func outOfMemory(t *testing.T, b bench) {
	p := pod{config: b.PodConfig("hungry")}
	var err error
	if p.id, err = b.RunPod(t.Context(), p.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.RemovePod(harness.After(t), p.id) })
	config := harness.ContainerConfig(p.config, "main", image.Busybox, "sh", "-c", hungry)
	config.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}
	if p.container, err = b.Run(t.Context(), p.id, p.config, config); err != nil {
		t.Fatal(err)
	}
	p.pid = b.pid(t, p)
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	p.end(t)
	if err := b.AwaitProcesses(t.Context(), "sh", 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	if b.Options.Daemon != harness.Stock && (status.ExitCode != 137 || status.Reason != "OOMKilled") {
		t.Errorf("exit code %d, reason %q, want 137, OOMKilled", status.ExitCode, status.Reason)
	}
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}
