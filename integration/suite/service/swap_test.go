// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// oldConfig is the config of a node with Debian's containerd 1.6 and the systemd cgroup driver.
const oldConfig = `version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image.Pause + `"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true
`

// TestSwap replaces Debian's containerd under a kubelet with pods by our packages, and comes back.
// The kubelet must restart nothing.
func TestSwap(t *testing.T) {
	m := newMachine(t)
	t.Cleanup(func() {
		if t.Failed() { // it is lost with the guest
			t.Log(run(t, "journalctl", "--unit=kubelet", "--unit=containerd", "--unit="+unit, "--output=short-precise", "--lines=2000"))
		}
	})
	m.prepare(t)
	install(t, m.repo.Tool("packages", "runc_*.deb"), m.repo.Tool("packages", "containerd_*.deb"),
		m.repo.Tool("packages", "containernetworking-plugins_*.deb"))
	write(t, config, oldConfig)
	run(t, "systemctl", "restart", "containerd.service")
	n := connect(t)
	n.pullBusybox(t)
	if err := n.life(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	bare := nodeState(t)

	write(t, "/etc/kubelet.yaml", kubeletConfig)
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	m.startKubelet(t)
	for i := range count {
		n.addPod(t, fmt.Sprintf("pod-%d", i), special[i])
		if i%4 == 3 {
			n.awaitContainers(t, i+1)
		}
	}
	// On an overloaded guest, containerd 1.6 starts a second shim for a pod, which takes the socket
	// of the first. Its own restart would lose such a pod, too.
	if running, err := shims(); err != nil || len(running) != count {
		t.Fatalf("containerd has %d shims, %v; want %d", len(running), err, count)
	}
	pods := n.awaitPods(t, nil)
	processes := n.processes(t, pods)

	for _, step := range []struct {
		name string
		swap func(t *testing.T)
	}{{"ours", m.installOurs}, {"debian", m.installDebians}, {"ours-again", m.installOurs}, {"debian-again", m.installDebians}} {
		ok := t.Run(step.name, func(t *testing.T) {
			step.swap(t)
			// When this pod runs, the kubelet has seen the pods of the new daemon.
			n.addPod(t, step.name, "")
			n.awaitContainers(t, len(pods)+1)
			now := n.running(t)
			for id, container := range pods {
				if now[id] != container {
					t.Errorf("pod %s: container %s runs, want %s", id, now[id], container)
				}
			}
			for container, process := range processes {
				dir, _, _ := strings.Cut(process, " ")
				if is, err := identity(dir); err != nil || is != process {
					t.Errorf("container %s: process %s, %v; want %s", container, is, err, process)
				}
			}
			pods, processes = now, n.processes(t, now)
			if step.name == "ours" {
				said := run(t, "containerd-lite", "handback")
				if !strings.Contains(said, "default/ours-") || !strings.HasSuffix(said, "; 0 would be lost") {
					t.Errorf("handback: %s", said)
				}
			}
		})
		if !ok {
			t.FailNow() // the kubelet now restarts pods
		}
	}
	if err := os.RemoveAll(manifests); err != nil {
		t.Fatal(err)
	}
	n.awaitContainers(t, 0)
	run(t, "systemctl", "stop", "kubelet.service")
	n.removeAllPods(t)
	if err := bare.Await(t.Context(), harness.NodeState(containerdClient(t))); err != nil {
		t.Error(err)
	}
	run(t, "dpkg", "--purge", "containerd", "containerd-lite", "containerd-shim-lite")
	awaitNoShims(t)
}

// installDebians installs Debian's containerd in place of ours, as apt does.
func (m machine) installDebians(t *testing.T) {
	t.Helper()
	found, err := filepath.Glob(m.repo.Tool("packages", "containerd_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	cmd := exec.Command("apt-get", "install", "--yes", "--no-install-recommends", found[0])
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apt-get install containerd: %v: %s", err, said)
	}
	if version := run(t, "/usr/bin/containerd", "--version"); !strings.Contains(version, "1.6.") {
		t.Errorf("containerd --version: %s", version)
	}
}

// addPod makes the kubelet run a pod.
func (n node) addPod(t *testing.T, name, more string) {
	t.Helper()
	write(t, filepath.Join(manifests, name+".yaml"), fmt.Sprintf(manifest, name)+more)
}

// running returns the containers that run, by pod.
func (n node) running(t *testing.T) map[string]string {
	t.Helper()
	pods := map[string]string{}
	answer, err := n.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil
	}
	for _, c := range answer.Containers {
		if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			pods[c.PodSandboxId] = c.Id
		}
	}
	return pods
}

func (n node) awaitContainers(t *testing.T, count int) {
	t.Helper()
	await(t, func() error {
		if now := n.running(t); now == nil || len(now) != count {
			return fmt.Errorf("containers run in %d pods, want %d", len(now), count)
		}
		return nil
	})
}

// processes returns the process of each container, as identity does.
func (n node) processes(t *testing.T, pods map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, container := range pods {
		answer, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container, Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		var info struct{ PID int }
		if err := json.Unmarshal([]byte(answer.Info["info"]), &info); err != nil {
			t.Fatal(err)
		}
		if all[container], err = identity(fmt.Sprintf("/proc/%d", info.PID)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
