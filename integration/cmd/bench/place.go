// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// topDirectory is FS_TOPDIR_FL (linux/fs.h), which chattr(1) sets with +T. x/sys does not have it.
const topDirectory = 0x00020000

// ownBlockGroups makes a directory for the files of all daemons, in which ext4 places each
// subdirectory in a block group of its own, and makes it the directory of temporary files. remove
// removes it, unless a daemon has left something in it.
//
// For a minute, or five, ext4 does not use an inode again that was deleted, and checks all such
// inodes of the block group whenever a file is created (recently_deleted in fs/ext4/ialloc.c).
// Without this, a daemon would pay for the files that the one before it has deleted: milliseconds
// for each pod, and more with each round.
func ownBlockGroups() (remove func(), err error) {
	// The name is short because the plugin launches a shim only if the path of its socket is.
	dir := filepath.Join(os.TempDir(), "lite")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	if err := markTopDirectory(dir); err != nil {
		return nil, fmt.Errorf("mark %s as top of a directory hierarchy: %w", dir, err)
	}
	return func() { _ = os.Remove(dir) }, os.Setenv("TMPDIR", dir)
}

// markTopDirectory does nothing on a file system without this flag.
func markTopDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|topDirectory))
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
