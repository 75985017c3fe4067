// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func stopSignal(t *testing.T, n *node) {
	p := n.run(t, id(t), `
os: {name: linux}
terminationGracePeriodSeconds: 30
volumes: [{name: work, hostPath: {path: $DIR}}]
containers:
- name: main
  command: [sh, -c, "trap 'echo usr1 >/work/got; exit 0' USR1; trap 'echo term >/work/got; exit 0' TERM; touch /work/up; sleep 1000 & wait"]
  lifecycle: {stopSignal: SIGUSR1}
  volumeMounts: [{name: work, mountPath: /work}]
`)
	now := p.running()
	if got := container(now, "main").StopSignal; got == nil || *got != corev1.SIGUSR1 {
		t.Errorf("stop signal in the status: %v, want SIGUSR1", got)
	}
	p.file("up")
	if err := p.remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.file("got"); got != "usr1\n" {
		t.Errorf("the container received %q", got)
	}
}

func userNamespaceHostNetwork(t *testing.T, n *node) {
	p := n.run(t, id(t), `
hostUsers: false
hostNetwork: true
containers: [{name: main, command: [sleep, "1000"]}]
`)
	p.running()
	if fields := strings.Fields(p.exec("main", "cat", "/proc/self/uid_map")); len(fields) != 3 || fields[1] == "0" {
		t.Errorf("uid_map %v, want 0 mapped to another ID", fields)
	}
	if got, want := p.exec("main", "readlink", "/proc/self/ns/net"), hostNamespace(t, "net"); got != want {
		t.Errorf("network namespace %s, want the host's %s", got, want)
	}
}
