// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// kubeconfig names an API server that does not exist.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: absent, cluster: {server: "http://127.0.0.1:%d"}}]
contexts: [{name: absent, context: {cluster: absent, user: none}}]
users: [{name: none, user: {}}]
current-context: absent
`

// TestAPIServerAway runs scenarios that a standalone kubelet refuses because it has no client of an
// API server. This kubelet has a client, but the server does not answer, as when a control plane
// starts.
func TestAPIServerAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, fmt.Appendf(nil, kubeconfig, harness.Port(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, nil, "--kubeconfig", file)
	t.Run("pods", func(t *testing.T) {
		for _, s := range []scenario{
			{"projected volume", projectedVolume},
			{"recursive read-only mount", recursiveReadOnly},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, n)
			})
		}
	})
}

func projectedVolume(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes:
- name: about
  projected:
    defaultMode: 0440
    sources:
    - downwardAPI:
        items:
        - {path: labels, fieldRef: {fieldPath: metadata.labels}}
        - {path: pod/name, fieldRef: {fieldPath: metadata.name}}
    - downwardAPI:
        items: [{path: memory, resourceFieldRef: {containerName: main, resource: limits.memory}}]
containers:
- name: main
  command: [sleep, "1000"]
  resources: {limits: {memory: 64Mi}}
  volumeMounts: [{name: about, mountPath: /about}, {name: about, mountPath: /one, subPath: pod/name}]
`)
	p.running()
	for file, want := range map[string]string{
		"/about/labels": `app="projected-volume"`, "/about/pod/name": p.name, "/about/memory": "67108864", "/one": p.name,
	} {
		if got := p.exec("main", "cat", file); got != want {
			t.Errorf("%s contains %q, want %q", file, got, want)
		}
	}
	if got := p.exec("main", "stat", "-L", "-c", "%a", "/about/labels"); got != "440" {
		t.Errorf("mode %s, want 440", got)
	}
}

func recursiveReadOnly(t *testing.T, n *node) {
	// A mount below the directory becomes read-only only with recursiveReadOnly.
	below := n.Path("kubelet", "share", id(t), "below")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(below, 0); err != nil {
			t.Error(err)
		}
	})
	p := n.run(t, id(t), `
volumes: [{name: host, hostPath: {path: $DIR}}]
containers:
- name: main
  command: [sleep, "1000"]
  volumeMounts:
  - {name: host, mountPath: /ro, readOnly: true}
  - {name: host, mountPath: /rro, readOnly: true, recursiveReadOnly: Enabled}
`)
	p.running()
	p.exec("main", "touch", "/ro/below/file")
	for _, file := range []string{"/ro/file", "/rro/file", "/rro/below/file"} {
		if out, err := p.tryExec("main", "touch", file); err == nil || !strings.Contains(out, "Read-only file system") {
			t.Errorf("touch %s: %v: %q, want a read-only file system", file, err, out)
		}
	}
}
