// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"cmp"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// badPod is a pod that must be refused.
type badPod struct {
	name   string
	change func(*runtimeapi.PodSandboxConfig)
}

// badContainer is a container that must be refused, with InvalidArgument or with code.
type badContainer struct {
	name   string
	change func(*runtimeapi.ContainerConfig)
	code   codes.Code
}

// TestBadValues creates pods and containers with one bad value each. Each must be refused before
// any work: without any containerd event, and with nothing left behind.
func TestBadValues(t *testing.T) {
	b := newBench(t)
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd accepts most of these values")
	}
	w := b.watch(t)
	for _, c := range slices.Concat(badDescriptions(), badNetworks(), badPodSecurity()) {
		b.NoLeaks(t, "pod/"+c.name, func(t *testing.T) {
			config := b.PodConfig("bad")
			c.change(config)
			b.refused(t, c.name, &runtimeapi.RunPodSandboxRequest{Config: config}, codes.InvalidArgument)
			w.nothingHappened(t)
		})
	}
	config := b.PodConfig("values")
	pod := b.Pod(t, config)
	w.happened(t)
	if _, err := b.create(t, pod, config, harness.ContainerConfig(config, "good", image.Busybox)); err != nil {
		t.Fatal(err)
	}
	if len(w.happened(t)) == 0 {
		t.Error("no containerd events received: the rest of this test proves nothing")
	}
	for _, c := range slices.Concat(badProcesses(), badSecurity(b), badResources(), badMounts(t, b), badDevices(t)) {
		b.NoLeaks(t, "container/"+c.name, func(t *testing.T) {
			container := harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000")
			c.change(container)
			id, err := b.create(t, pod, config, container)
			b.want(t, c.name, err, cmp.Or(c.code, codes.InvalidArgument))
			if err == nil {
				b.removeContainer(t, id)
			}
			w.nothingHappened(t)
		})
	}
}

func (b bench) removeContainer(t *testing.T, id string) {
	t.Helper()
	if _, err := b.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
}
