// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func initAndSidecar(t *testing.T, n *node) {
	p := n.run(t, id(t), `
restartPolicy: Never
terminationGracePeriodSeconds: 30
volumes: [{name: work, hostPath: {path: $DIR}}]
initContainers:
- name: first
  command: [sh, -c, "echo first >>/work/order"]
  volumeMounts: [{name: work, mountPath: /work}]
- name: sidecar
  restartPolicy: Always
  command: [sh, -c, "trap 'echo sidecar ended >>/work/order; exit 0' TERM; echo sidecar >>/work/order; touch /ready; sleep 1000 & wait"]
  startupProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1000}
  volumeMounts: [{name: work, mountPath: /work}]
- name: second
  command: [sh, -c, "echo second >>/work/order"]
  volumeMounts: [{name: work, mountPath: /work}]
containers:
- name: main
  command: [sh, -c, "echo main >>/work/order"]
  volumeMounts: [{name: work, mountPath: /work}]
`)
	now := p.phase(corev1.PodSucceeded)
	if diff := cmp.Diff("first\nsidecar\nsecond\nmain\nsidecar ended\n", p.file("order")); diff != "" {
		t.Errorf("order of the containers: -want +got:\n%s", diff)
	}
	for _, name := range []string{"first", "sidecar", "second", "main"} {
		if ended := container(now, name).State.Terminated; ended == nil || ended.ExitCode != 0 || ended.Reason != "Completed" {
			t.Errorf("container %s: %+v, want Completed with 0", name, ended)
		}
	}
}

func livenessProbe(t *testing.T, n *node) {
	p := n.run(t, id(t), `
containers:
- name: web
  image: `+image.Httpd+`
  livenessProbe: {httpGet: {path: /index.html, port: 80}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
  startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1000}
`)
	if before := container(p.running(), "web"); before.RestartCount != 0 {
		t.Errorf("restarted %d times although its probe passed", before.RestartCount)
	}
	p.exec("web", "rm", "/www/index.html")
	// busybox httpd ignores SIGTERM as PID 1.
	if ended := p.restarted("web"); ended.ExitCode != 137 || ended.Reason != "Error" {
		t.Errorf("state of the container after a failed liveness probe: %+v, want Error with 137", ended)
	}
}

func readinessProbe(t *testing.T, n *node) {
	p := n.run(t, id(t), `
containers:
- name: main
  command: [sleep, "1000"]
  readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
`)
	ready := func(want bool) {
		t.Helper()
		p.await(func(now *corev1.Pod) error {
			if status := container(now, "main"); status.State.Running == nil || status.Ready != want {
				return fmt.Errorf("container main: %+v, want ready: %t", status.State, want)
			}
			return nil
		})
	}
	ready(false)
	p.exec("main", "touch", "/ready")
	ready(true)
	p.exec("main", "rm", "/ready")
	ready(false)
}

func startupProbe(t *testing.T, n *node) {
	p := n.run(t, id(t), `
containers:
- name: web
  image: `+image.Httpd+`
  startupProbe: {httpGet: {path: /started, port: 80}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1000}
  livenessProbe: {httpGet: {path: /started, port: 80}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
`)
	started := func(want bool) {
		t.Helper()
		p.await(func(now *corev1.Pod) error {
			status := container(now, "web")
			if status.State.Running == nil || status.Started == nil || *status.Started != want {
				return fmt.Errorf("container web: %+v, want started: %t", status, want)
			}
			return nil
		})
	}
	started(false)
	p.exec("web", "touch", "/www/started")
	started(true)
	if now := p.running(); container(now, "web").RestartCount != 0 {
		t.Error("the container was restarted before its startup probe passed")
	}
}

func lifecycleHooks(t *testing.T, n *node) {
	p := n.run(t, id(t), `
terminationGracePeriodSeconds: 30
volumes: [{name: work, hostPath: {path: $DIR}}]
containers:
- name: main
  command: [sh, -c, "trap 'echo term >>/work/order; exit 0' TERM; touch /work/up; sleep 1000 & wait"]
  lifecycle:
    postStart: {exec: {command: [sh, -c, "echo started >>/work/order"]}}
    preStop: {exec: {command: [sh, -c, "echo stopping >>/work/order"]}}
  volumeMounts: [{name: work, mountPath: /work}]
`)
	p.running()
	p.file("up")
	if err := p.remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("started\nstopping\nterm\n", p.file("order")); diff != "" {
		t.Errorf("order of the hooks: -want +got:\n%s", diff)
	}
}

func restartAfterCrash(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes: [{name: work, emptyDir: {}}]
containers:
- name: main
  command: [sh, -c, "test -e /work/once && exec sleep 1000; touch /work/once; exit 3"]
  volumeMounts: [{name: work, mountPath: /work}]
`)
	if ended := p.restarted("main"); ended.ExitCode != 3 || ended.Reason != "Error" || ended.FinishedAt.Before(&ended.StartedAt) {
		t.Errorf("the crash is reported as %+v, want Error with 3", ended)
	}
	if now := p.running(); container(now, "main").RestartCount != 1 {
		t.Errorf("restarted %d times, want 1", container(now, "main").RestartCount)
	}
}

func restartAfterOOM(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes: [{name: work, emptyDir: {}}]
containers:
- name: main
  command: [sh, -c, "test -e /work/once && exec sleep 1000; touch /work/once; exec dd if=/dev/zero of=/dev/null bs=200M"]
  resources: {limits: {memory: 24Mi}}
  volumeMounts: [{name: work, mountPath: /work}]
`)
	if ended := p.restarted("main"); ended.ExitCode != 137 || ended.Reason != "OOMKilled" {
		t.Errorf("out of memory is reported as %+v, want OOMKilled with 137", ended)
	}
}

func terminationMessage(t *testing.T, n *node) {
	p := n.run(t, id(t), `
restartPolicy: Never
containers:
- name: file
  command: [sh, -c, "echo in the log; printf 'in the file' >/dev/termination-log"]
- name: path
  command: [sh, -c, "printf 'at the path' >/tmp/message; exit 4"]
  terminationMessagePath: /tmp/message
- name: log
  command: [sh, -c, "echo in the log; exit 5"]
  terminationMessagePolicy: FallbackToLogsOnError
`)
	type end struct {
		Message string
		Code    int32
	}
	got := map[string]end{}
	for _, name := range []string{"file", "path", "log"} {
		ended := p.terminated(name)
		got[name] = end{ended.Message, ended.ExitCode}
	}
	want := map[string]end{"file": {"in the file", 0}, "path": {"at the path", 4}, "log": {"in the log\n", 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// grace is the grace period of gracefulDeletion in seconds.
const grace = 4

func gracefulDeletion(t *testing.T, n *node) {
	p := n.run(t, id(t), fmt.Sprintf(`
terminationGracePeriodSeconds: %d
volumes: [{name: work, hostPath: {path: $DIR}}]
containers:
- name: obedient
  command: [sh, -c, "trap 'echo term >/work/obedient; exit 0' TERM; touch /work/up; sleep 1000 & wait"]
  volumeMounts: [{name: work, mountPath: /work}]
- name: stubborn
  command: [sh, -c, "trap 'read t x </proc/uptime; echo $t >/work/term' TERM; touch /work/up2; while :; do read t x </proc/uptime; echo $t >>/work/ticks; sleep 0.1; done"]
  volumeMounts: [{name: work, mountPath: /work}]
`, grace))
	p.running()
	p.file("up")
	p.file("up2")
	if err := p.remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.file("obedient"); got != "term\n" {
		t.Errorf("the obedient container wrote %q", got)
	}
	// The container must run until the end of its grace period. The SIGTERM and the kill may both
	// come just before a tick.
	last, pause := ticks(t, p.file("ticks"))
	if lived := last - uptime(t, p.file("term")); lived < grace-0.5-2*pause {
		t.Errorf("the stubborn container was killed after %.1f s; grace period %d s, pause between ticks %.1f s", lived, grace, pause)
	}
	if pids, err := n.Processes("sh"); err != nil {
		t.Error(err)
	} else if left := inPod(p, pids); len(left) > 0 {
		t.Errorf("processes of the pod still run: %v", left)
	}
}

// ticks returns the last of several times and the longest pause between two, in seconds.
func ticks(t *testing.T, text string) (last, pause float64) {
	t.Helper()
	for line := range strings.Lines(text) {
		next := uptime(t, line)
		if last != 0 {
			pause = max(pause, next-last)
		}
		last = next
	}
	return last, pause
}

// uptime returns the first number of /proc/uptime, in seconds.
func uptime(t *testing.T, text string) float64 {
	t.Helper()
	seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		t.Fatal(err)
	}
	return seconds
}
