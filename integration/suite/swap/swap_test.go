// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// node is a node whose daemon changes.
type node struct {
	*harness.Bench
	*harness.CRI
	pods map[string]*running
	// shimLogs is true if the lite shim writes the logs.
	shimLogs bool
}

// running is a pod that was started with one daemon and runs on with others.
type running struct {
	id         string
	config     *runtimeapi.PodSandboxConfig
	containers map[string]string // IDs by name
}

// newNode starts stock containerd, or the one in bin, with pods of these kinds, and waits for the
// containers that end by themselves.
func newNode(t *testing.T, bin string, all []podCase) *node {
	t.Helper()
	return newNodeWith(t, harness.Options{Daemon: harness.Stock, Handler: harness.HandlerRunc, Bin: bin}, all)
}

func newNodeWith(t *testing.T, o harness.Options, all []podCase) *node {
	t.Helper()
	b := harness.StartWith(t, o)
	if err := os.MkdirAll(b.Path("cdi"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Path("cdi", "swap.json"), []byte(cdiSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{Bench: b, CRI: b.Client(t, image.Busybox), pods: map[string]*running{}}
	for _, k := range all {
		n.start(t, k)
		if !k.ends {
			continue
		}
		for _, id := range n.pods[k.name].containers {
			if _, err := n.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// removeAll removes all pods.
func (n *node) removeAll(t *testing.T) {
	t.Helper()
	for name, p := range n.pods {
		if err := n.RemovePod(t.Context(), p.id); err != nil {
			t.Errorf("remove pod %s: %v", name, err)
		}
	}
	if n.Options.Daemon == harness.Stock {
		n.collectGarbage(t)
	}
}

// collectGarbage makes containerd remove the snapshots to which nothing refers any more.
func (n *node) collectGarbage(t *testing.T) {
	t.Helper()
	client, err := n.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	service := client.LeasesService()
	lease, err := service.Create(t.Context(), leases.WithRandomID())
	if err == nil {
		err = service.Delete(t.Context(), lease, leases.SynchronousDelete)
	}
	if err != nil {
		t.Errorf("collect garbage: %v", err)
	}
}

// TestSwap replaces stock containerd under pods of all kinds and compares what both daemons report
// of each pod. Then it uses each pod, goes back to stock containerd, and removes all pods.
func TestSwap(t *testing.T) {
	n := newNode(t, "", kinds())
	before := n.report(t)
	n.checkDryRun(t)
	n.swap(t, harness.Lite)
	n.compare(t, before, n.report(t))
	for _, name := range slices.Sorted(maps.Keys(n.pods)) {
		t.Run("use "+name, func(t *testing.T) { n.use(t, n.pods[name]) })
	}
	t.Run("log", n.checkLogs)
	t.Run("an exit is seen", func(t *testing.T) { n.checkExit(t, before) })
	t.Run("restarted daemon", func(t *testing.T) {
		n.swap(t, harness.Lite)
		n.compare(t, before, n.report(t))
	})
	for _, k := range kinds() {
		if k.commands["main"] == sleep {
			t.Run("a new container joins "+k.name, func(t *testing.T) { n.join(t, k) })
		}
	}
	n.removeAll(t)
	if list, err := n.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{}); err != nil || len(list.Containers) > 0 {
		t.Errorf("containers left: %v, %v", list.GetContainers(), err)
	}
}

// TestBackToStock goes to containerd-lite and back. Stock containerd must find all pods that it has
// started, and remove them.
func TestBackToStock(t *testing.T) {
	n := newNode(t, "", kinds())
	before := n.report(t)
	for range 2 {
		n.swap(t, harness.Lite)
		n.swap(t, harness.Stock)
		n.compare(t, before, n.report(t))
		n.checkLogs(t)
	}
	n.removeAll(t)
}

// TestChangesUnderBoth changes containers under both daemons in turn. Each must see what the other
// has done.
func TestChangesUnderBoth(t *testing.T) {
	n := newNode(t, "", []podCase{{name: "web", commands: map[string]string{"first": exit9OnTERM, "second": exit9OnTERM, "third": exit9OnTERM}}})
	p := n.pods["web"]
	for i, container := range []string{"first", "second", "third"} {
		daemon := harness.Lite
		if i%2 == 1 {
			daemon = harness.Stock
		}
		n.swap(t, daemon)
		for _, id := range p.containers {
			if _, err := n.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{
				ContainerId: id, Linux: &runtimeapi.LinuxContainerResources{CpuShares: int64(100 + i)},
			}); err != nil && daemon == harness.Lite {
				t.Errorf("update under %s: %v", daemon, err)
			}
		}
		n.stop(t, p.containers[container])
		before := n.report(t)
		if got := before.containers["web/third"].GetResources().GetLinux().GetCpuShares(); got != int64(100+i) {
			t.Errorf("CPU shares under %s: %d", daemon, got)
		}
		for _, next := range []string{harness.Stock, harness.Lite} {
			n.swap(t, next)
			n.compare(t, before, n.report(t))
		}
	}
	n.removeAll(t)
}

// TestKilled kills containerd-lite at several points of the adoption. Stock containerd must find
// all pods as they were.
func TestKilled(t *testing.T) {
	n := newNode(t, "", kinds())
	before := n.report(t)
	for _, line := range []string{"starting containerd", "loading plugin", "adopted pods of", "adopted containers of", "CRI is ready"} {
		if err := n.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		n.Options.Daemon = harness.Lite
		seen := n.Daemon.Lines(line)
		if err := n.Daemon.Launch(); err != nil {
			t.Fatal(err)
		}
		err := harness.AwaitEvery(t.Context(), time.Millisecond, func() error {
			if n.Daemon.Lines(line) == seen {
				return fmt.Errorf("no line %q in the log", line)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Daemon.Kill(); err != nil {
			t.Fatal(err)
		}
		n.Options.Daemon = harness.Stock
		if err := n.Daemon.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.compare(t, before, n.report(t))
	}
	n.removeAll(t)
}

// TestOldVersions adopts pods of earlier containerds. Their statuses have fewer fields.
func TestOldVersions(t *testing.T) {
	for _, dir := range oldVersions(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			n := newNode(t, dir, oldKinds(dir))
			before := n.report(t).basics()
			n.swap(t, harness.Lite)
			if diff := cmp.Diff(before, n.report(t).basics()); diff != "" {
				t.Errorf("pods and containers (-before +after):\n%s", diff)
			}
			for _, p := range n.pods {
				n.use(t, p)
			}
			n.checkLogs(t)
			n.join(t, kinds()[0])
			n.removeAll(t)
		})
	}
}

// oldVersions returns the directories of earlier containerds.
func oldVersions(t *testing.T) []string {
	t.Helper()
	dir, err := filepath.Abs("../../../.tools/old")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) == 0 {
		t.Skip("needs earlier containerds (integration/tools.sh old)")
	}
	return found
}

// oldKinds returns the kinds of pods that an earlier containerd can run. Image volumes are of
// containerd 2.1, user namespaces and CDI devices of 2.0.
func oldKinds(dir string) []podCase {
	return slices.DeleteFunc(kinds(), func(k podCase) bool {
		ofV2 := k.name == "userns" || k.name == "cdi"
		return k.name == "volume" || ofV2 && strings.HasPrefix(filepath.Base(dir), "v1.")
	})
}

// basics returns what every version of containerd reports of pods and containers.
func (r reports) basics() map[string]string {
	all := map[string]string{}
	for name, s := range r.pods {
		all["pod "+name] = fmt.Sprintln(s.Id, s.State, s.CreatedAt, s.Network, s.Labels, s.Annotations, s.Linux)
	}
	for name, s := range r.containers {
		all["container "+name] = fmt.Sprintln(s.Id, s.State, s.CreatedAt, s.StartedAt, s.FinishedAt, s.ExitCode, s.Reason, s.ImageRef,
			s.LogPath, s.Labels, s.Annotations, s.Mounts, r.pids[name])
	}
	return all
}

// stop stops a container that ends with code 9.
func (n *node) stop(t *testing.T, id string) {
	t.Helper()
	if _, err := n.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	ended, err := n.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil || ended.ExitCode != 9 {
		t.Errorf("exit code %d, %v, want 9", ended.GetExitCode(), err)
	}
}

// swap replaces the daemon.
func (n *node) swap(t *testing.T, daemon string) {
	t.Helper()
	if err := n.Daemon.Swap(t.Context(), daemon, ""); err != nil {
		t.Fatal(err)
	}
}

// reports are the statuses of all pods and containers, by name.
type reports struct {
	pods       map[string]*runtimeapi.PodSandboxStatus
	containers map[string]*runtimeapi.ContainerStatus
	pids       map[string]string
}

func (n *node) report(t *testing.T) reports {
	t.Helper()
	r := reports{map[string]*runtimeapi.PodSandboxStatus{}, map[string]*runtimeapi.ContainerStatus{}, map[string]string{}}
	for name, p := range n.pods {
		answer, err := n.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})
		if err != nil {
			t.Errorf("pod %s: %v", name, err)
			continue
		}
		r.pods[name] = answer.Status
		for container, id := range p.containers {
			answer, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
			if err != nil {
				t.Errorf("pod %s: container %s: %v", name, container, err)
				continue
			}
			r.containers[name+"/"+container] = answer.Status
			r.pids[name+"/"+container] = pidIn(answer.Info["info"])
		}
	}
	return r
}

var pidField = regexp.MustCompile(`"pid":\s*(\d+)`)

func pidIn(info string) string {
	if m := pidField.FindStringSubmatch(info); m != nil {
		return m[1]
	}
	return ""
}

// compare checks that a daemon reports of each pod and container what the one before has reported.
func (n *node) compare(t *testing.T, before, after reports) {
	t.Helper()
	same := []cmp.Option{protocmp.Transform(), protocmp.SortRepeatedFields(&runtimeapi.PodSandboxNetworkStatus{}, "additional_ips")}
	for name, want := range before.pods {
		if diff := cmp.Diff(want, after.pods[name], same...); diff != "" {
			t.Errorf("pod %s (-before +after):\n%s", name, diff)
		}
	}
	for name, want := range before.containers {
		if diff := cmp.Diff(want, after.containers[name], same...); diff != "" {
			t.Errorf("container %s (-before +after):\n%s", name, diff)
		}
		if before.pids[name] != after.pids[name] {
			t.Errorf("container %s: PID %s, was %s", name, after.pids[name], before.pids[name])
		}
	}
}

// use checks that a running container of a pod can be used.
func (n *node) use(t *testing.T, p *running) {
	ctx := t.Context()
	for name, id := range p.containers {
		answer, err := n.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
			continue
		}
		result, err := n.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "echo out; exit 3"}})
		if err != nil || string(result.Stdout) != "out\n" || result.ExitCode != 3 {
			t.Errorf("%s: exec: %v, %v", name, result, err)
		}
		stats, err := n.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: id})
		if err != nil || stats.GetStats().GetMemory().GetUsageBytes().GetValue() == 0 {
			t.Errorf("%s: statistics: %v, %v", name, stats, err)
		}
		_, err = n.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{
			ContainerId: id, Linux: &runtimeapi.LinuxContainerResources{},
		})
		if err != nil {
			t.Errorf("%s: update: %v", name, err)
		}
	}
	if _, err := n.PodSandboxStats(ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: p.id}); err != nil {
		t.Errorf("statistics: %v", err)
	}
}

// checkDryRun checks that `containerd-lite adopt --dry-run` has a line for each pod.
func (n *node) checkDryRun(t *testing.T) {
	t.Helper()
	output, err := harness.Output(n.Daemon.Lite(t.Context(), "adopt", "--dry-run"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		handler := harness.HandlerRunc
		if k.handler != "" {
			handler = k.handler
		}
		want := fmt.Sprintf("bench/%s: adopted by handler %s, keeps running; containers: %d\n", k.name, handler, len(k.commands))
		if !strings.Contains(output, want) {
			t.Errorf("no line %q in:\n%s", want, output)
		}
	}
}

// join starts another container in a pod of a kind: it has the namespaces and files of the first.
func (n *node) join(t *testing.T, k podCase) {
	p := n.pods[k.name]
	c := harness.ContainerConfig(p.config, "second", image.Busybox, "sh", "-c", sleep)
	if k.container != nil {
		k.container(c)
	}
	id, err := n.Run(t.Context(), p.id, p.config, c)
	if err != nil {
		t.Fatal(err)
	}
	environment := func(container string) string {
		result, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{
			"sh", "-c", "cd /proc/self/ns; for n in net ipc uts user; do readlink $n; done; hostname; cat /etc/hosts; cut -d' ' -f5 /proc/self/mountinfo | grep -vE '^/(proc/|sys/firmware)' | sort; ulimit -n",
		}})
		if err != nil {
			t.Fatal(err)
		}
		return string(result.Stdout)
	}
	if diff := cmp.Diff(environment(p.containers["main"]), environment(id)); diff != "" {
		t.Errorf("namespaces and files (-first +second):\n%s", diff)
	}
	p.containers["second"] = id
}

// checkExit checks that the daemon sees the end of a container that another has started.
func (n *node) checkExit(t *testing.T, before reports) {
	n.stop(t, n.pods["stdin"].containers["main"])
	delete(n.pods["stdin"].containers, "main")
	delete(before.containers, "stdin/main")
}

// start starts a pod of a kind.
func (n *node) start(t *testing.T, k podCase) {
	t.Helper()
	config := n.PodConfig(k.name)
	if k.pod != nil {
		k.pod(config)
	}
	answer, err := n.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: k.handler})
	if err != nil {
		t.Fatalf("pod %s: %v", k.name, err)
	}
	p := &running{answer.PodSandboxId, config, map[string]string{}}
	n.pods[k.name] = p
	for name, command := range k.commands {
		c := harness.ContainerConfig(config, name, image.Busybox, "sh", "-c", command)
		if k.container != nil {
			k.container(c)
		}
		if p.containers[name], err = n.Run(t.Context(), p.id, config, c); err != nil {
			t.Fatalf("pod %s: container %s: %v", k.name, name, err)
		}
	}
}
