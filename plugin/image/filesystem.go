// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
)

// Filesystem is a file system that snapshots are on.
type Filesystem struct {
	// Device is what is mounted, such as /dev/sda1.
	Device string
	// Bytes, Inodes and InodesFree are its size, whoever uses it.
	Bytes, Inodes, InodesFree uint64
	// At is when it was measured.
	At time.Time

	id uint64 // of the device
}

// Filesystem returns the file system that a snapshotter is on, as of the last
// sample; false if it is not known.
func (m *Manager) Filesystem(snapshotter string) (Filesystem, bool) {
	f, ok := m.sampler.last.Load().filesystems[snapshotter]
	return f, ok
}

// readFilesystem measures the file system that a directory is on. last is what it
// was before.
func readFilesystem(dir string, last Filesystem) (Filesystem, error) {
	var size syscall.Statfs_t
	if err := syscall.Statfs(dir, &size); err != nil {
		return Filesystem{}, fmt.Errorf("file system of %s: %w", dir, err)
	}
	id, ok := device(dir)
	if !ok {
		return Filesystem{}, fmt.Errorf("device of %s: %w", dir, os.ErrNotExist)
	}
	f := Filesystem{
		Device:     last.Device,
		Bytes:      size.Blocks * uint64(size.Bsize),
		Inodes:     size.Files,
		InodesFree: size.Ffree,
		At:         time.Now(),
		id:         id,
	}
	if last.At.IsZero() || last.id != id {
		f.Device = mounted(dir)
	}
	return f, nil
}

// mounted returns what is mounted where a directory is: the source of the last
// mount at the deepest mount point above it.
func mounted(dir string) string {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	above, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil {
		return ""
	}
	var source, deepest string
	for _, m := range above {
		if len(m.Mountpoint) >= len(deepest) {
			source, deepest = m.Source, m.Mountpoint
		}
	}
	return source
}

// existing returns a directory, or the nearest above it that is there: that of a
// snapshotter in another process may not be, and the kubelet wants to look at it.
func existing(dir string) string {
	for dir != "" && dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
