// SPDX-License-Identifier: Apache-2.0

// Package stats runs containers with a known resource usage, and compares the statistics and the
// metrics with the files of their cgroups. LITE_DAEMON=stock is the control: the same test on stock
// containerd, without the features that it lacks.
package stats

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	memoryLimit = 128 << 20
	held        = 16 << 20 // bytes of memory of the worker
	written     = 4 << 20  // bytes that it wrote to its layer
	served      = 1 << 20  // bytes fetched from the web server
	quota       = 30000    // microseconds of CPU per 100000
)

// The worker never sleeps. The shell's variable is its memory.
const worker = `x=$(dd if=/dev/zero bs=1M count=16 2>/dev/null | tr '\0' x)
dd if=/dev/zero of=/data bs=1M count=4 2>/dev/null
echo ready >/ready
while :; do :; done`

// The web server has three processes: httpd, and two sleeps that hold one open file each.
const web = `dd if=/dev/zero of=/www/big bs=1k count=1024 2>/dev/null
sleep 100000 </dev/null & sleep 100000 </dev/null &
exec httpd -f -p 80 -h /www`

// eater starts a process that is killed for lack of memory.
const eater = `tail /dev/zero; echo killed >/killed; exec sleep 100000`

func TestStats(t *testing.T) {
	b := newBench(t)
	b.run(t)
	for _, test := range []struct {
		name string
		lite bool // stock containerd lacks the feature
		run  func(*testing.T, *bench)
	}{
		{"a container", false, oneContainer},
		{"an exited container", false, endedContainer},
		{"lists and filters", false, lists},
		{"a pod", false, onePod},
		{"a pod on the host network", false, hostPod},
		{"image file system", true, imageFilesystem},
		{"metrics", true, metrics},
		{"metrics by crictl", true, crictl},
		{"a shim that does not answer", true, stuckShim},
		{"a stopped pod", true, stoppedPod},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.lite && b.Options.Daemon == harness.Stock {
				t.Skip("stock containerd lacks this feature")
			}
			test.run(t, b)
		})
	}
}

// bench is a bench with its pods.
type bench struct {
	harness.Session

	web, host, stuck              pod
	server, worker, ended, killed string // container IDs; killed is in the pod host
}

type pod struct {
	id     string
	config *runtimeapi.PodSandboxConfig
	member string // container of a pod with a single container
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{Session: harness.Open(t, image.Busybox, image.Httpd)}
}

// pod runs a pod, modified by change, until the test ends.
func (b *bench) pod(t *testing.T, name string, change func(*runtimeapi.PodSandboxConfig)) pod {
	t.Helper()
	config := b.PodConfig(name)
	if change != nil {
		change(config)
	}
	return pod{id: b.Pod(t, config), config: config}
}

// container runs a container in a pod.
func (b *bench) container(t *testing.T, p pod, name, img, script string, limits *runtimeapi.LinuxContainerResources) string {
	t.Helper()
	config := harness.ContainerConfig(p.config, name, img, "sh", "-c", script)
	config.Linux.Resources = limits
	config.Labels["role"] = name
	id, err := b.Run(t.Context(), p.id, p.config, config)
	if err != nil {
		t.Fatalf("container %s: %v", name, err)
	}
	return id
}

// run starts all pods and waits until they have used resources.
func (b *bench) run(t *testing.T) {
	t.Helper()
	b.web = b.pod(t, "web", nil)
	b.host = b.pod(t, "host", harness.OnHostNetwork)
	b.stuck = b.pod(t, "stuck", nil)
	b.server = b.container(t, b.web, "server", image.Httpd, web, nil)
	b.worker = b.container(t, b.web, "worker", image.Busybox, worker, &runtimeapi.LinuxContainerResources{
		CpuPeriod: 100000, CpuQuota: quota, CpuShares: 512, MemoryLimitInBytes: memoryLimit,
	})
	b.ended = b.container(t, b.web, "ended", image.Busybox, "exit 0", nil)
	b.killed = b.container(t, b.host, "killed", image.Busybox, eater, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20})
	b.stuck.member = b.container(t, b.stuck, "sleeper", image.Busybox, "exec sleep 100000", nil)

	if _, err := b.AwaitState(t.Context(), b.ended, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
		t.Fatal(err)
	}
	b.awaitFile(t, b.worker, "/ready")
	b.awaitFile(t, b.killed, "/killed")
	b.fetch(t)
	// A rate is measured over at least a second, in which the worker cannot use more than its
	// quota.
	await(t, func() error {
		if used := b.cpuUsed(t, b.web, b.worker); used < 2*uint64(time.Second)*quota/100000 {
			return fmt.Errorf("the worker has used %d ns", used)
		}
		return nil
	})
}

func await(t *testing.T, probe func() error) {
	t.Helper()
	if err := harness.Await(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) awaitFile(t *testing.T, container, file string) {
	t.Helper()
	await(t, func() error {
		answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"cat", file}})
		if err == nil && answer.ExitCode != 0 {
			err = fmt.Errorf("cat %s: %s", file, answer.Stderr)
		}
		return err
	})
}

// fetch fetches a file of known size from the web server.
func (b *bench) fetch(t *testing.T) {
	t.Helper()
	status, err := b.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: b.web.id})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() error {
		answer, err := http.Get("http://" + status.Status.Network.Ip + "/big")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		n, err := io.Copy(io.Discard, answer.Body)
		if err == nil && n != served {
			err = fmt.Errorf("%d bytes from the web server, want %d", n, served)
		}
		return err
	})
}

// cgroupFile reads a file in the cgroup of a container, or of its pod for an empty ID, on cgroup v1
// or v2.
func (b *bench) cgroupFile(t *testing.T, p pod, container, controller, v1, v2 string) string {
	t.Helper()
	cgroup := p.config.Linux.CgroupParent
	if container != "" {
		cgroup = b.ContainerCgroup(p.config, container)
	}
	text, err := os.ReadFile(harness.CgroupFile(cgroup, controller+"/"+v1, v2))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// cpuUsed returns the CPU time of a container, or of a pod, in nanoseconds.
func (b *bench) cpuUsed(t *testing.T, p pod, container string) uint64 {
	t.Helper()
	text := b.cgroupFile(t, p, container, "cpuacct", "cpuacct.usage", "cpu.stat")
	if rest, ok := strings.CutPrefix(text, "usage_usec "); ok {
		text, _, _ = strings.Cut(rest, "\n")
		text += "000"
	}
	return parse(t, text)
}

func parse(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// within checks that a value is present and in a range.
func within(t *testing.T, what string, n *runtimeapi.UInt64Value, least, most uint64) {
	t.Helper()
	if n == nil || n.Value < least || n.Value > most {
		t.Errorf("%s: got %v, want %d to %d", what, n, least, most)
	}
}
