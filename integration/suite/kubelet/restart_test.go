// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// steady is a pod that must not be disturbed, with an init container, a sidecar and a probe.
const steady = `
volumes: [{name: work, hostPath: {path: $DIR}}]
initContainers:
- {name: first, command: ["true"]}
- {name: sidecar, restartPolicy: Always, command: [sleep, "1000"]}
containers:
- name: main
  command: [sh, -c, "while [ ! -e /work/go ]; do sleep 0.1; done; rm /work/go; exit 7"]
  readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1, timeoutSeconds: 60}
  volumeMounts: [{name: work, mountPath: /work}]
- name: second
  command: [sleep, "1000"]
`

// ids returns the IDs of the pod's containers. An ID changes when its container is restarted.
func ids(now *corev1.Pod) map[string]string {
	all := map[string]string{}
	for _, status := range slices.Concat(now.Status.InitContainerStatuses, now.Status.ContainerStatuses) {
		all[status.Name] = fmt.Sprintf("%s restarted %d times", status.ContainerID, status.RestartCount)
	}
	return all
}

// undisturbed runs a pod, calls happen, and checks that the same containers still run in the same
// sandbox and that a new pod can start.
func undisturbed(t *testing.T, n *node, happen func()) *pod {
	t.Helper()
	p := n.run(t, id(t), steady)
	before := ids(p.running())
	sandbox := readySandbox(t, p)
	happen()
	next := n.run(t, id(t)+"-next", `
containers: [{name: main, command: [sleep, "1000"]}]
`)
	next.running()
	after := ids(p.running())
	for name, id := range before {
		if after[name] != id {
			t.Errorf("container %s: %s, want %s", name, after[name], id)
		}
	}
	if got := readySandbox(t, p); got != sandbox {
		t.Errorf("sandbox %s, want %s", got, sandbox)
	}
	if got := p.exec("main", "echo", "hello"); got != "hello" {
		t.Errorf("exec returns %q", got)
	}
	return p
}

func readySandbox(t *testing.T, p *pod) string {
	t.Helper()
	sandboxes, err := p.sandboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ready := ""
	for _, s := range sandboxes {
		if s.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			ready += s.Id
		}
	}
	return ready
}

func kubeletRestart(t *testing.T, n *node) {
	undisturbed(t, n, func() {
		if err := n.restartKubelet(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func daemonRestart(t *testing.T, n *node) {
	undisturbed(t, n, func() {
		if err := n.Daemon.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// daemonKill also lets a container exit while no daemon runs: the kubelet must get its exit code
// and restart it.
func daemonKill(t *testing.T, n *node) {
	p := undisturbed(t, n, func() {
		if err := n.Daemon.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.Daemon.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if err := n.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	done := filepath.Join(p.dir, "go")
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error {
		if _, err := os.Stat(done); err == nil {
			return fmt.Errorf("%s still exists", done)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := n.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := p.restarted("main")
	if n.Handler == harness.HandlerRunc {
		t.Logf("known difference with the runc shim: the exit without a daemon is reported as %d, %s", ended.ExitCode, ended.Reason)
		return
	}
	if ended.ExitCode != 7 || ended.Reason != "Error" {
		t.Errorf("the exit without a daemon is reported as %+v, want Error with 7", ended)
	}
}

// imageCollection makes the kubelet believe that the disk is full: it removes unused images.
func imageCollection(t *testing.T, n *node) {
	const unused = "gcr.io/k8s-staging-cri-tools/test-image-3:latest"
	if err := n.Pull(t.Context(), unused); err != nil {
		t.Fatal(err)
	}
	restart := func(eviction string) {
		n.config.Eviction = eviction
		if err := n.restartKubelet(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	undisturbed(t, n, func() {
		restart("99.9%")
		if err := n.until(t.Context(), func() error {
			if n.hasImage(t, unused) {
				return fmt.Errorf("image %s still exists", unused)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if !n.hasImage(t, image.Busybox) {
			t.Errorf("image %s was removed although containers use it", image.Busybox)
		}
		// Pinned images must stay: pods of the built-in CRI use the pause image.
		if n.Options.Daemon == harness.Stock && !n.hasImage(t, image.Pause) {
			t.Errorf("the pinned image %s was removed", image.Pause)
		}
		restart("0%")
	})
}

func (n *node) hasImage(t *testing.T, ref string) bool {
	t.Helper()
	answer, err := n.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Image != nil
}

// eventedPLEG checks that the kubelet listens to the runtime's events if its feature gate is on.
func eventedPLEG(t *testing.T, n *node) {
	text, err := n.get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	connected := metric(string(text), "kubelet_evented_pleg_connection_success_count")
	failed := metric(string(text), "kubelet_evented_pleg_connection_error_count")
	if on := n.config.Gates["EventedPLEG"]; on != (connected == "1") || failed != "" && failed != "0" {
		t.Errorf("EventedPLEG %t: connected %q times, %q errors", on, connected, failed)
	}
}
