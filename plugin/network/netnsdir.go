// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// sharedNetnsDir is the directory in which ip-netns(8), CNI tools and other runtimes pin network
// namespaces.
const sharedNetnsDir = "/var/run/netns"

// netnsDir is the directory of pinned network namespaces.
//
// The first "ip netns add" on a node bind-mounts the shared directory onto itself with all mounts
// in it. Namespaces that were pinned before that then exist twice, and their owner can no longer
// remove them (EBUSY). Therefore acquire makes the directory a shared mount point first, as ip
// does, but only while it is empty: otherwise the same would happen to namespaces of other
// programs. The mount is removed with the last namespace.
type netnsDir struct {
	path   string
	shared bool // used by other programs, too

	mu    sync.RWMutex // held for reading while a namespace is being pinned
	setup sync.Mutex   // serializes prepare
}

func newNetnsDir(path string) *netnsDir {
	if path == "" {
		return &netnsDir{path: sharedNetnsDir, shared: true}
	}
	return &netnsDir{path: path}
}

// acquire prepares the directory and prevents the removal of its mount until release is called.
func (d *netnsDir) acquire() (release func(), err error) {
	d.mu.RLock()
	if err := d.prepare(); err != nil {
		d.mu.RUnlock()
		return nil, fmt.Errorf("directory of network namespaces %s: %w", d.path, err)
	}
	return d.mu.RUnlock, nil
}

func (d *netnsDir) prepare() error {
	d.setup.Lock()
	defer d.setup.Unlock()
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return err
	}
	if !d.shared {
		return nil
	}
	// ip takes the same lock.
	lock, err := os.OpenFile(d.path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // ip is creating the mount
	}
	mounted, err := mountinfo.Mounted(d.path)
	if err != nil || mounted || !isEmpty(d.path) {
		return err
	}
	if err := unix.Mount(d.path, d.path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Mount("", d.path, "", unix.MS_SHARED, ""); err != nil {
		_ = unix.Unmount(d.path, unix.MNT_DETACH)
		return fmt.Errorf("make shared: %w", err)
	}
	return nil
}

// unmountUnused removes the mount that prepare created, if no namespace is pinned there.
func (d *netnsDir) unmountUnused() {
	if !d.shared || !isEmpty(d.path) || !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if isEmpty(d.path) {
		_ = unix.Unmount(d.path, unix.UMOUNT_NOFOLLOW) // fails if it is in use or not a mount
	}
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}
