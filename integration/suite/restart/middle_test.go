// SPDX-License-Identifier: Apache-2.0

package restart

import (
	"fmt"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// some is the number of calls in progress when the daemon is killed.
const some = 8

// killWhileStarting kills the daemon when the first of several RunPodSandbox calls has returned.
// Then it does what the kubelet does: it stops and removes every pod that the daemon still lists,
// and repeats the calls.
func killWhileStarting(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd forgets pods in creation, and leaks their network")
	}
	name := func(i int) string { return fmt.Sprintf("starting-%d", i) }
	wait := together(some, func(i int) {
		// Most of these calls fail with the connection.
		_, _ = b.RunPod(t.Context(), b.PodConfig(name(i)))
	})
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	wait()
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.removeAll(t)
	for i := range some {
		id, err := b.RunPod(t.Context(), b.PodConfig(name(i)))
		if err != nil {
			t.Errorf("run %s again: %v", name(i), err)
			continue
		}
		if err := b.RemovePod(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

// killWhileStopping kills the daemon when the first of several pods has been stopped.
func killWhileStopping(t *testing.T, b bench) {
	running := make([]pod, some)
	for i := range running {
		running[i] = b.start(t, fmt.Sprintf("stopping-%d", i))
	}
	wait := together(some, func(i int) {
		// Most of these calls fail with the connection.
		_, _ = b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: running[i].id})
	})
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	wait()
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.removeAll(t)
}

func (b bench) removeAll(t *testing.T) {
	t.Helper()
	answer, err := b.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range answer.Items {
		if err := b.RemovePod(t.Context(), p.Id); err != nil {
			t.Errorf("remove pod %s: %v", p.Metadata.Name, err)
		}
	}
}
