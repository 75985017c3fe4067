// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwnBlockGroups(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("TMPDIR", parent)
	remove, err := ownBlockGroups()
	if err != nil {
		t.Fatal(err)
	}
	dir := os.TempDir()
	if filepath.Dir(dir) != parent {
		t.Errorf("directory of temporary files is %s, want one in %s", dir, parent)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.EXT4_SUPER_MAGIC {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil || flags&topDirectory == 0 {
			t.Errorf("flags of %s are %#x, %v; want %#x set", dir, flags, err, topDirectory)
		}
	}
	remove()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("after remove: stat %s: %v, want it gone", dir, err)
	}
}
