// SPDX-License-Identifier: Apache-2.0

package task

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
)

// tmpfs mounts a file system at a directory, or skips the test where that is not possible.
func tmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("rootfs", dir, "tmpfs", 0, ""); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// The mounts of a root filesystem are gone after its removal, whatever they are.
func TestRemoveRootfs(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, rootfs string){
		"mounted":          tmpfs,
		"mounted twice":    func(t *testing.T, rootfs string) { tmpfs(t, rootfs); tmpfs(t, rootfs) },
		"with a mount":     func(t *testing.T, rootfs string) { tmpfs(t, rootfs); tmpfs(t, filepath.Join(rootfs, "etc")) },
		"a mount below it": func(t *testing.T, rootfs string) { tmpfs(t, filepath.Join(rootfs, "etc")) },
		"in use": func(t *testing.T, rootfs string) {
			tmpfs(t, rootfs)
			file, err := os.Create(filepath.Join(rootfs, "file"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { file.Close() })
		},
		"not mounted":    func(t *testing.T, rootfs string) { _ = os.Mkdir(rootfs, 0o700) },
		"does not exist": func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &setup{bundle: bundle.Dir(t.TempDir()), mounted: true}
			prepare(t, s.bundle.Rootfs())
			if err := s.removeRootfs(); err != nil {
				t.Fatal(err)
			}
			table, err := mountinfo.GetMounts(mountinfo.PrefixFilter(string(s.bundle)))
			if err != nil || len(table) > 0 {
				t.Errorf("mounts left: %v, %v", table, err)
			}
			// Files below a mount point that was none belong to the client.
			if _, err := os.Lstat(s.bundle.Rootfs()); !os.IsNotExist(err) && name != "a mount below it" {
				t.Errorf("mount point: %v, want none", err)
			}
		})
	}
}

// The root filesystem of a client, which the shim has not mounted, is left alone.
func TestRemoveRootfsOfTheClient(t *testing.T) {
	s := &setup{bundle: bundle.Dir(t.TempDir())}
	file := filepath.Join(s.bundle.Rootfs(), "file")
	if err := os.Mkdir(s.bundle.Rootfs(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.removeRootfs(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
