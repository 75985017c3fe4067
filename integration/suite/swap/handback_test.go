// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// newNodeOfOurs starts containerd-lite with pods of these kinds.
func newNodeOfOurs(t *testing.T, handler string, all []podCase) *node {
	t.Helper()
	n := newNodeWith(t, harness.Options{Daemon: harness.Lite, Handler: handler}, all)
	n.shimLogs = handler != harness.HandlerRunc
	return n
}

// TestHandBack replaces containerd-lite by stock containerd under pods of all kinds that
// containerd-lite has started, and back. Both must report the same of each pod, and work with it.
func TestHandBack(t *testing.T) {
	for _, handler := range []string{harness.HandlerLite, harness.HandlerRunc} {
		t.Run(handler, func(t *testing.T) {
			n := newNodeOfOurs(t, handler, kinds())
			before := n.report(t)
			n.checkHandBack(t)
			n.swap(t, harness.Stock)
			n.compareOurs(t, before, n.report(t))
			for _, name := range slices.Sorted(maps.Keys(n.pods)) {
				t.Run("use "+name, func(t *testing.T) { n.use(t, n.pods[name]) })
			}
			t.Run("log", n.checkLogs)
			for _, k := range kinds() {
				if k.commands["main"] == sleep {
					t.Run("a new container joins "+k.name, func(t *testing.T) { n.join(t, k) })
				}
			}
			t.Run("an exit is seen", func(t *testing.T) { n.checkExit(t, before) })
			for range 2 {
				before = n.report(t)
				n.swap(t, harness.Lite)
				n.compareOurs(t, before, n.report(t))
				t.Run("log", n.checkLogs)
				n.swap(t, harness.Stock)
				n.compareOurs(t, before, n.report(t))
			}
			if handler == harness.HandlerLite {
				n.swap(t, harness.Lite)
			}
			n.removeAll(t)
			if list, err := n.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{}); err != nil || len(list.Containers) > 0 {
				t.Errorf("containers left: %v, %v", list.GetContainers(), err)
			}
		})
	}
}

// TestHandBackKilled kills containerd-lite. Stock containerd must find all pods nevertheless, and
// the exit code of a container that ends before it starts.
func TestHandBackKilled(t *testing.T) {
	n := newNodeOfOurs(t, "", kinds())
	before := n.report(t)
	if err := n.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	n.checkHandBack(t)
	n.swap(t, harness.Stock)
	n.compareOurs(t, before, n.report(t))
	n.removeAll(t)
}

// TestChangesUnderStock changes pods of containerd-lite under stock containerd. containerd-lite
// must see each change, and go on from there.
func TestChangesUnderStock(t *testing.T) {
	n := newNodeOfOurs(t, "", []podCase{
		{name: "web", commands: map[string]string{"ends": exit9OnTERM, "removed": sleep, "resized": exit9OnTERM}},
		{name: "stopped", commands: map[string]string{"main": sleep}},
		{name: "stoppedhost", commands: map[string]string{"main": sleep}, pod: harness.OnHostNetwork},
		{name: "removed", commands: map[string]string{"main": sleep}},
	})
	web := n.pods["web"]
	answer, err := n.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
		PodSandboxId: web.id, SandboxConfig: web.config, Config: harness.ContainerConfig(web.config, "later", image.Busybox, "sh", "-c", exit9OnTERM),
	})
	if err != nil {
		t.Fatal(err)
	}
	created := answer.ContainerId
	web.containers["later"] = created
	n.swap(t, harness.Stock)

	if _, err := n.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: created}); err != nil {
		t.Fatal(err)
	}
	n.stop(t, web.containers["ends"])
	if _, err := n.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: web.containers["removed"]}); err != nil {
		t.Fatal(err)
	}
	delete(web.containers, "removed")
	for _, name := range []string{"resized", "later"} {
		if _, err := n.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{
			ContainerId: web.containers[name], Linux: &runtimeapi.LinuxContainerResources{CpuShares: 300},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.UpdatePodSandboxResources(t.Context(), &runtimeapi.UpdatePodSandboxResourcesRequest{
		PodSandboxId: web.id, Resources: &runtimeapi.LinuxContainerResources{CpuShares: 400}, Overhead: &runtimeapi.LinuxContainerResources{CpuShares: 5},
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stopped", "stoppedhost"} {
		if _, err := n.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: n.pods[name].id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.RemovePod(t.Context(), n.pods["removed"].id); err != nil {
		t.Fatal(err)
	}
	delete(n.pods, "removed")
	n.start(t, podCase{name: "new", commands: map[string]string{"main": sleep}})

	before := n.report(t)
	for _, daemon := range []string{harness.Lite, harness.Lite, harness.Stock, harness.Lite} {
		n.swap(t, daemon)
		n.compareOurs(t, before, n.report(t))
	}
	if state := before.pods["stoppedhost"].State; state != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("stopped pod: %s", state)
	}
	n.stop(t, created)
	n.stop(t, web.containers["resized"])
	n.removeAll(t)
}

// TestRotationUnderStock rotates a log that the shim writes. Stock containerd cannot reopen it. The
// shim must continue in the new file.
func TestRotationUnderStock(t *testing.T) {
	n := newNodeOfOurs(t, "", []podCase{{name: "log", commands: map[string]string{"main": count}}})
	n.swap(t, harness.Stock)
	p := n.pods["log"]
	path := n.Path("logs", p.config.Metadata.Name, "main.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ReopenContainerLog(t.Context(), &runtimeapi.ReopenContainerLogRequest{ContainerId: p.containers["main"]}); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error {
		if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
			return fmt.Errorf("new log is empty: %w", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: p.containers["main"]}); err != nil {
		t.Fatal(err)
	}
	number := 0
	for _, file := range []string{path + ".1", path} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if number++; !strings.HasSuffix(line, fmt.Sprintf(" F %d\n", number)) {
				t.Fatalf("line %d of the log: %q", number, line)
			}
		}
	}
	n.removeAll(t)
}

// checkHandBack checks that `containerd-lite handback` has a line for each pod.
func (n *node) checkHandBack(t *testing.T) {
	t.Helper()
	output, err := harness.Output(n.Daemon.Lite(t.Context(), "handback"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		want := fmt.Sprintf("bench/%s: keeps running; containers: %d", k.name, len(k.commands))
		if !strings.Contains(output, want) {
			t.Errorf("no line %q in:\n%s", want, output)
		}
	}
	if want := fmt.Sprintf("\n%d pods; 0 would be lost", len(n.pods)); !strings.HasSuffix(output, want) {
		t.Errorf("the output does not end with %q:\n%s", want, output)
	}
}

// compareOurs is compare without the creation time of pods.
func (n *node) compareOurs(t *testing.T, before, after reports) {
	t.Helper()
	keepCreated(before, after)
	n.compare(t, before, after)
}

// keepCreated sets the creation time of each pod to that before: stock containerd reports that of
// the pod's task.
func keepCreated(before, after reports) {
	for name, s := range after.pods {
		if was := before.pods[name]; was != nil {
			s.CreatedAt = was.CreatedAt
		}
	}
}

// TestHandBackToOldVersions replaces containerd-lite by earlier containerds.
func TestHandBackToOldVersions(t *testing.T) {
	for _, dir := range oldVersions(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			n := newNodeOfOurs(t, "", oldKinds(dir))
			before := n.report(t)
			if err := n.Daemon.Swap(t.Context(), harness.Stock, dir); err != nil {
				t.Fatal(err)
			}
			after := n.report(t)
			keepCreated(before, after)
			if diff := cmp.Diff(before.basics(), after.basics()); diff != "" {
				t.Errorf("pods and containers (-before +after):\n%s", diff)
			}
			for _, p := range n.pods {
				n.use(t, p)
			}
			n.checkLogs(t)
			n.join(t, kinds()[0])
			n.removeAll(t)
			n.swap(t, harness.Lite)
			if list, err := n.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{}); err != nil || len(list.Items) > 0 {
				t.Errorf("removed pods are listed after the return: %v, %v", list.GetItems(), err)
			}
		})
	}
}
