// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Directories of older releases and of the built-in CRI are found at these paths.
func TestPaths(t *testing.T) {
	p := Paths{Root: "/r/cri", State: "/s/cri"}
	bundles, work := p.Bundles("k8s.io")
	pod, container := p.Pod("p"), p.Container("c")
	want := map[string]string{
		"/r/cri/sandboxes/p":                        pod.Root,
		"/r/cri/sandboxes/p/hostname":               pod.Hostname(),
		"/r/cri/sandboxes/p/hosts":                  pod.Hosts(),
		"/r/cri/sandboxes/p/resolv.conf":            pod.ResolvConf(),
		"/s/cri/shims":                              p.Shims(),
		"/s/cri/sandboxes/p":                        pod.State,
		"/s/cri/sandboxes/p/shm":                    pod.Shm(),
		"/s/cri/sandboxes/p/ns":                     pod.Namespaces(),
		"/s/cri/sandboxes/p/init":                   pod.Init(),
		"/s/cri/sandboxes/p/pinned-namespaces/user": pod.PinnedUser(),
		"/s/cri/image-volumes/p":                    p.ImageVolumes("p"),
		"/r/cri/containers/c/status":                container.Status(),
		"/r/cri/containers/c":                       container.Root,
		"/r/cri/containers/c/volumes":               container.Volumes(),
		"/s/cri/containers/c":                       container.State,
		"/s/cri/containers/c/images":                container.Images(),
		"/s/cri/containers/c/io":                    container.IO(),
		"/s/cri/netns":                              p.NetNS(),
		"/r":                                        p.Containerd(),
		"/r/io.containerd.content.v1.content":       p.Content(),
		"/s/io.containerd.runtime.v2.task/k8s.io":   bundles,
		"/r/io.containerd.runtime.v2.task/k8s.io":   work,
	}
	for want, got := range want {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	p := Paths{Root: t.TempDir(), State: t.TempDir()}
	for _, ids := range []func() ([]string, error){p.PodIDs, p.ContainerIDs} {
		if got, err := ids(); len(got) != 0 || err != nil {
			t.Errorf("without a directory: %v, %v", got, err)
		}
	}
	for _, dir := range []string{
		p.Pod("p2").Root, p.Pod("p1").Root, p.Pod("mounted").State,
		p.Container("c2").Root, p.Container("c2").State, p.Container("c1").State,
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pods, err := p.PodIDs()
	if diff := cmp.Diff([]string{"p1", "p2"}, pods); diff != "" || err != nil {
		t.Errorf("pods (-want +got), error %v:\n%s", err, diff)
	}
	containers, err := p.ContainerIDs()
	if diff := cmp.Diff([]string{"c1", "c2"}, containers); diff != "" || err != nil {
		t.Errorf("containers (-want +got), error %v:\n%s", err, diff)
	}
}
