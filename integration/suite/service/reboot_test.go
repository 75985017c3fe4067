// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestReboot reboots a node with a kubelet and its pods. The daemon must list the old pods as
// stopped, the kubelet must start new ones, and the removal of the old ones must be complete.
func TestReboot(t *testing.T) {
	g := newGuest(t)
	g.run(t, "before reboot")
	g.run(t, "after reboot")
}

const (
	kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
staticPodPath: ` + manifests + `
address: 127.0.0.1
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: systemd
resolvConf: /etc/hosts
makeIPTablesUtilChains: false
`
	manifests = "/etc/kubernetes/manifests"
	manifest  = `apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: ` + image.Busybox + `
    imagePullPolicy: IfNotPresent
    command: [sleep, "100000"]
`
	// oldFile has the IDs of the pods and containers from before the reboot.
	oldFile = "/var/lib/old-pods.json"
)

// special is added to the manifests of pods whose exit is harder to detect after a reboot: one has
// no namespaces that the reboot removes, the container of another has a pipe that no longer exists.
var special = map[int]string{0: "  hostNetwork: true\n  hostIPC: true\n", 1: "    stdin: true\n"}

// beforeReboot runs pods as a kubelet does.
func beforeReboot(t *testing.T, m machine) {
	write(t, "/etc/kubelet.yaml", kubeletConfig)
	for i := range count {
		name := fmt.Sprintf("pod-%d", i)
		write(t, filepath.Join(manifests, name+".yaml"), fmt.Sprintf(manifest, name)+special[i])
	}
	n := connect(t)
	m.startKubelet(t)
	pods := n.awaitPods(t, nil)
	text, err := json.Marshal(pods)
	if err != nil {
		t.Fatal(err)
	}
	write(t, oldFile, string(text))
}

// afterReboot begins when systemd has started the daemon, without a kubelet.
func afterReboot(t *testing.T, m machine) {
	n := connect(t)
	var old map[string]string
	if err := json.Unmarshal([]byte(read(t, oldFile)), &old); err != nil {
		t.Fatal(err)
	}
	n.checkEnded(t, old)
	m.startKubelet(t)
	pods := n.awaitPods(t, old)
	for id := range old {
		if _, err := n.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Error(err)
		}
	}
	checkGone(t, old)
	run(t, "systemctl", "stop", "kubelet.service")
	for id := range pods {
		n.removePods(t, []pod{{id: id}})
	}
	if err := awaitBare(t); err != nil {
		t.Error(err)
	}
}

// startKubelet starts a kubelet as a transient unit, which does not survive a reboot.
func (m machine) startKubelet(t *testing.T) {
	t.Helper()
	run(t, "systemd-run", "--unit=kubelet", "--property=KillMode=process", m.repo.Tool("bin", "kubelet"), "--config=/etc/kubelet.yaml")
}

// awaitPods waits until the pods of the manifests run, none of them in an old sandbox. It returns
// the containers by pod.
func (n node) awaitPods(t *testing.T, old map[string]string) map[string]string {
	t.Helper()
	var pods map[string]string
	await(t, func() error {
		answer, err := n.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
		if err != nil {
			return err
		}
		pods = map[string]string{}
		for _, c := range answer.Containers {
			if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
				pods[c.PodSandboxId] = c.Id
			}
		}
		if len(pods) != count {
			return fmt.Errorf("containers run in %d pods, want %d", len(pods), count)
		}
		return nil
	})
	for id := range pods {
		if _, found := old[id]; found {
			t.Errorf("pod %s from before the reboot is running", id)
		}
	}
	return pods
}

// checkEnded checks that the daemon lists all pods and containers from before the reboot as
// stopped.
func (n node) checkEnded(t *testing.T, old map[string]string) {
	t.Helper()
	for id, container := range old {
		p, err := n.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
		if err != nil || p.Status.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
			t.Errorf("pod %s after the reboot: %v, %v", id, p.GetStatus().GetState(), err)
		}
		c, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container})
		if err != nil || c.Status.State != runtimeapi.ContainerState_CONTAINER_EXITED || c.Status.FinishedAt == 0 {
			t.Errorf("container %s after the reboot: %v, %v", container, c.GetStatus(), err)
		}
	}
}

// checkGone checks that the old pods and containers left no name and no IP address.
func checkGone(t *testing.T, old map[string]string) {
	t.Helper()
	ids := slices.AppendSeq(slices.Collect(maps.Keys(old)), maps.Values(old))
	await(t, func() error {
		for kind, items := range nodeState(t) {
			for _, item := range items {
				if slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(item, id) }) {
					return fmt.Errorf("left from before the reboot: %s %s", kind, item)
				}
			}
		}
		return nil
	})
	addresses, err := filepath.Glob("/var/lib/cni/networks/service/198.*")
	if err != nil {
		t.Fatal(err)
	}
	if want := count - 1; len(addresses) != want { // one pod is on the host network
		t.Errorf("%d addresses in use, want %d: %v", len(addresses), want, addresses)
	}
	for _, file := range addresses {
		if text := read(t, file); slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(text, id) }) {
			t.Errorf("address from before the reboot: %s: %s", file, text)
		}
	}
}
