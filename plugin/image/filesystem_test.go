// SPDX-License-Identifier: Apache-2.0

package image

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestFilesystem(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	m.sampler.take(n.ctx)
	got, ok := m.Filesystem(defaultSnapshotter)
	if !ok {
		t.Fatal("the file system of the snapshotter is unknown")
	}
	var want syscall.Statfs_t
	must(t, syscall.Statfs(n.dir, &want))
	if got.Bytes != want.Blocks*uint64(want.Bsize) || got.Inodes != want.Files || got.InodesFree > got.Inodes || got.At.IsZero() {
		t.Errorf("file system %+v, want one of %d blocks of %d bytes and %d inodes", got, want.Blocks, want.Bsize, want.Files)
	}
	if _, ok := m.Filesystem("unknown"); ok {
		t.Error("an unknown snapshotter has a file system")
	}
}

// TestMountSource compares with the mount table, for two mount points that exist on every machine.
func TestMountSource(t *testing.T) {
	for dir, at := range map[string]string{"/proc/self/task": "/proc", "/": "/"} {
		list, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(at))
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("%d mounts at %s", len(list), at)
		}
		if got := mountSource(dir); got != list[0].Source {
			t.Errorf("mountSource(%q) = %q, want %q", dir, got, list[0].Source)
		}
	}
	if got := mountSource("/no/such/directory"); got != "" {
		t.Errorf("mount source %q of a missing directory", got)
	}
}

func TestNearestExisting(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for in, want := range map[string]string{
		dir: dir, file: file, dir + "/a/b/c": dir, "/no/such": "/", "/": "/", "": "",
	} {
		if got := nearestExisting(in); got != want {
			t.Errorf("nearestExisting(%q) = %q, want %q", in, got, want)
		}
	}
}
