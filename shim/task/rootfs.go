// SPDX-License-Identifier: Apache-2.0

package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

func (s *setup) mount(mounts []*types.Mount) error {
	rootfs := s.bundle.Rootfs()
	if err := os.Mkdir(rootfs, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create rootfs directory: %w", err)
	}
	all := make([]mount.Mount, len(mounts))
	for i, m := range mounts {
		all[i] = mount.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options}
	}
	// mount.All may run a helper program and waits for it. The reaper must not reap it.
	defer s.host.Children.Hold()()
	if err := mount.All(all, rootfs); err != nil {
		return fmt.Errorf("mount rootfs: %w", err)
	}
	return nil
}

// removeRootfs unmounts the root filesystem, if the shim has mounted it, and removes the mount
// point if it is empty. containerd looks for mounts below an existing one, and to read the table
// of mounts takes longer the more pods the node has.
func (s *setup) removeRootfs() error {
	rootfs := s.bundle.Rootfs()
	if !s.mounted {
		_ = unix.Rmdir(rootfs)
		return nil
	}
	if removeMountPoint(rootfs) == nil {
		return nil
	}
	if err := unmountAll(rootfs); err != nil {
		return fmt.Errorf("unmount rootfs: %w", err)
	}
	_ = unix.Rmdir(rootfs)
	return nil
}

// removeMountPoint unmounts what is mounted at a directory, and removes the directory. It does not
// need the table of mounts, and returns an error if a mount is in use, or below the directory.
func removeMountPoint(dir string) error {
	for {
		err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL { // not a mount point
			break
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
	return unix.Rmdir(dir)
}

// unmountAll unmounts what is mounted at a directory and below it. If a mount is in use, unmountAll
// detaches it, and the kernel unmounts it after its last use.
func unmountAll(dir string) error {
	if mount.UnmountRecursive(dir, 0) == nil {
		return nil
	}
	return mount.UnmountRecursive(dir, unix.MNT_DETACH)
}
