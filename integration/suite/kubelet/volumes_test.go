// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"path/filepath"
	"strings"
	"testing"
)

func emptyDirs(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes:
- {name: disk, emptyDir: {}}
- {name: memory, emptyDir: {medium: Memory, sizeLimit: 2Mi}}
containers:
- name: one
  command: [sleep, "1000"]
  volumeMounts: &mounts [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]
- name: two
  command: [sleep, "1000"]
  volumeMounts: *mounts
`)
	p.running()
	p.exec("one", "sh", "-c", "echo disk >/disk/file; echo memory >/memory/file")
	if got := p.exec("two", "cat", "/disk/file", "/memory/file"); got != "disk\nmemory" {
		t.Errorf("the other container read %q", got)
	}
	mount := p.exec("two", "grep", " /memory ", "/proc/mounts")
	if !strings.HasPrefix(mount, "tmpfs ") || !strings.Contains(mount, "size=2048k") {
		t.Errorf("mount of the volume in memory: %q, want a tmpfs of 2 MiB", mount)
	}
}

func hostPath(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes:
- {name: host, hostPath: {path: $DIR, type: Directory}}
- {name: made, hostPath: {path: $DIR/made, type: DirectoryOrCreate}}
containers:
- name: main
  command: [sleep, "1000"]
  volumeMounts:
  - {name: host, mountPath: /rw}
  - {name: host, mountPath: /ro, readOnly: true}
  - {name: made, mountPath: /made}
`)
	p.running()
	p.exec("main", "sh", "-c", "echo hello >/rw/file; touch /made/file")
	if got := p.file("file"); got != "hello\n" {
		t.Errorf("the host read %q", got)
	}
	p.file("made/file")
	if out, err := p.tryExec("main", "touch", "/ro/file"); err == nil || !strings.Contains(out, "Read-only file system") {
		t.Errorf("touch in a read-only mount: %v: %q", err, out)
	}
}

func subPath(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes: [{name: host, hostPath: {path: $DIR}}, {name: empty, emptyDir: {}}]
initContainers:
- name: prepare
  command: [sh, -c, "echo single >/host/single; echo next >/host/next"]
  volumeMounts: [{name: host, mountPath: /host}]
containers:
- name: main
  command: [sleep, "1000"]
  env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeMounts:
  - {name: host, mountPath: /folder, subPath: a/b}
  - {name: host, mountPath: /single, subPath: single, readOnly: true}
  - {name: empty, mountPath: /named, subPathExpr: of-$(POD)}
  - {name: empty, mountPath: /all}
`)
	p.running()
	p.exec("main", "sh", "-c", "echo below >/folder/file; touch /named/file")
	if got := p.file("a/b/file"); got != "below\n" {
		t.Errorf("the host read %q", got)
	}
	if got := p.exec("main", "cat", "/single"); got != "single" {
		t.Errorf("content of the single file: %q", got)
	}
	p.exec("main", "test", "-e", "/all/of-"+p.name+"/file")
	if got := p.exec("main", "ls", "/folder"); got != "file" {
		t.Errorf("the mount has more than its sub path: %q", got)
	}
}

// downwardVolume tests the volume that is closest to a projected volume among those that a
// standalone kubelet mounts.
func downwardVolume(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes:
- name: about
  downwardAPI:
    defaultMode: 0440
    items:
    - {path: labels, fieldRef: {fieldPath: metadata.labels}}
    - {path: pod/name, fieldRef: {fieldPath: metadata.name}}
    - {path: memory, resourceFieldRef: {containerName: main, resource: limits.memory}}
containers:
- name: main
  command: [sleep, "1000"]
  resources: {limits: {memory: 64Mi}}
  env: [{name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
  volumeMounts: [{name: about, mountPath: /about}]
`)
	now := p.running()
	for file, want := range map[string]string{"labels": `app="` + id(t) + `"`, "pod/name": p.name, "memory": "67108864"} {
		if got := p.exec("main", "cat", filepath.Join("/about", file)); got != want {
			t.Errorf("%s contains %q, want %q", file, got, want)
		}
	}
	if got := p.exec("main", "stat", "-L", "-c", "%a", "/about/labels"); got != "440" {
		t.Errorf("mode %s, want 440", got)
	}
	if got := p.exec("main", "sh", "-c", "echo $ADDRESS"); got != now.Status.PodIP {
		t.Errorf("address in the environment: %s, in the status: %s", got, now.Status.PodIP)
	}
}

func imageVolume(t *testing.T, n *node) {
	p := n.run(t, id(t), `
volumes: [{name: image, image: {reference: "gcr.io/k8s-staging-cri-tools/test-image-1:latest", pullPolicy: IfNotPresent}}]
containers:
- name: main
  command: [sleep, "1000"]
  volumeMounts:
  - {name: image, mountPath: /image}
  - {name: image, mountPath: /etc-of-image, subPath: etc}
`)
	p.running()
	if got := p.exec("main", "cat", "/image/test-image-1"); got != "test-image-1" {
		t.Errorf("content of the image's file: %q", got)
	}
	p.exec("main", "grep", "www-data", "/etc-of-image/passwd")
	if out, err := p.tryExec("main", "touch", "/image/file"); err == nil || !strings.Contains(out, "Read-only file system") {
		t.Errorf("touch in the image: %v: %q, want a read-only file system", err, out)
	}
}
