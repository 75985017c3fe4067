// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func TestDiff(t *testing.T) {
	before := State{"mount": {"/a", "/b", "/b"}, "cgroup": {"/old"}, "link": {"eth0"}}
	now := State{"mount": {"/b", "/b", "/b", "/c"}, "link": {"eth0"}, "process": {"7 sh"}}
	want := []string{
		// Another program may have owned the cgroup that is gone.
		"gone: mount /a", "left behind: mount /b", "left behind: mount /c", "left behind: process 7 sh",
	}
	if diff := cmp.Diff(want, before.Diff(now)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestHasID(t *testing.T) {
	for name, want := range map[string]bool{
		"4f9c8ff8a10c562056fd1526ae09eb43b135421c0a73e4f038d7bdff29493a09":  true,
		"cni-56c8720b-b30e-3d06-050f-1c45a5332bed":                          true,
		"kubepods-besteffort-pod12345678_9abc_def0_1234_56789abcdef0.slice": true,
		"lite330-kubepods-besteffort.slice":                                 false,
		"io.containerd.runtime.v2.task":                                     false,
		"k8s.io":                                                            false,
		"sandboxes":                                                         false,
	} {
		if hasID(name) != want {
			t.Errorf("hasID(%q) is %v", name, !want)
		}
	}
}

// TestLeakCheck checks that the leak check sees every kind of resource that a pod consists of, and
// finds none after the removal of the pod.
func TestLeakCheck(t *testing.T) {
	b := Start(t)
	client, err := b.CRI()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Pull(t.Context(), image.Busybox); err != nil {
		t.Fatal(err)
	}
	before, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := b.PodConfig("leak")
	pod, err := client.RunPod(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.RemovePod(After(t), pod); err != nil {
			t.Error(err)
		}
		if err := b.CheckSince(After(t), before); err != nil {
			t.Error(err)
		}
	}()
	if _, err := client.Run(t.Context(), pod, config, ContainerConfig(config, "main", image.Busybox, "sleep", "1000")); err != nil {
		t.Fatal(err)
	}
	now, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for kind, items := range now {
		if len((State{kind: before[kind]}).Diff(State{kind: items})) > 0 {
			kinds = append(kinds, kind)
		}
	}
	want := []string{
		"address", "cgroup", "container", "file", "link", "mount", "netns", "process", "rule", "snapshot", "task",
	}
	for _, kind := range want {
		if !slices.Contains(kinds, kind) {
			t.Errorf("the check does not see the pod's %s; it sees only %v of %v", kind, kinds, slices.Collect(maps.Keys(now)))
		}
	}
}
