// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// The root has exactly the mount points of the spec of a pod's init, and a second call changes
// nothing.
func TestMakeInitRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state/init")
	for range 2 {
		must(t, MakeInitRoot(dir))
	}
	s, err := spec.PodInit(spec.PodInitInput{Pod: spec.Pod{ID: "p1", Config: podConfig(0)}, Root: dir, Binary: "/bin/true"})
	must(t, err)
	for _, m := range s.Mounts {
		info, err := os.Lstat(filepath.Join(dir, m.Destination))
		must(t, err)
		if info.IsDir() != (m.Type != "bind") {
			t.Errorf("%s is %v, mount point for a %s", m.Destination, info.Mode(), m.Type)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != len(s.Mounts) {
		t.Errorf("%d entries for %d mounts", len(entries), len(s.Mounts))
	}
}

func TestMakeInitRootFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := MakeInitRoot(filepath.Join(file, "init")); err == nil {
		t.Error("no error for a root below a file")
	}
}
