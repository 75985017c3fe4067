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

// Filesystem is the file system of a snapshotter.
type Filesystem struct {
	// Device is the source of the mount, such as /dev/sda1.
	Device string
	// Bytes, Inodes and InodesFree are those of the whole file system, not only of snapshots.
	Bytes, Inodes, InodesFree uint64
	// At is the time of the measurement.
	At time.Time

	id uint64 // of the device
}

// Filesystem returns the file system of a snapshotter as of the last sample; false if it is not
// known.
func (m *Manager) Filesystem(snapshotter string) (Filesystem, bool) {
	f, ok := m.sampler.last.Load().filesystems[snapshotter]
	return f, ok
}

// readFilesystem measures the file system of a directory. last is the previous measurement.
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
		f.Device = mountSource(dir)
	}
	return f, nil
}

// mountSource returns the source of the mount that contains a directory: the last mount at the
// deepest mount point above it.
func mountSource(dir string) string {
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

// nearestExisting returns dir, or its nearest parent that exists. The directory of a proxy
// snapshotter may not exist, and the kubelet looks up the file system of the returned path.
func nearestExisting(dir string) string {
	for dir != "" && dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
