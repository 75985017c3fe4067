// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// sharedNetnsDir is where ip-netns(8), CNI tools and other runtimes keep
// network namespaces.
const sharedNetnsDir = "/var/run/netns"

// netnsDir is the directory of pinned network namespaces.
//
// The first "ip netns add" on a node binds the shared directory onto itself
// with all that is mounted in it. Namespaces pinned there before then exist
// twice, and their owner can no longer remove them (EBUSY). Therefore the
// directory is made a shared mount point first, as ip itself does, but only
// while it is empty: else the same would happen to the namespaces of others.
// The mount goes away with the last namespace.
type netnsDir struct {
	path   string
	shared bool // with other programs

	mu    sync.RWMutex // held for reading while a namespace is being pinned
	setup sync.Mutex   // held while the directory is prepared
}

func newNetnsDir(path string) *netnsDir {
	if path == "" {
		return &netnsDir{path: sharedNetnsDir, shared: true}
	}
	return &netnsDir{path: path}
}

// acquire prepares the directory and keeps it so until release is called.
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
	// ip takes this lock for the same purpose.
	lock, err := os.OpenFile(d.path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // ip is just doing it
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

// tidy removes the mount that prepare made, when nobody uses it.
func (d *netnsDir) tidy() {
	if !d.shared || !isEmpty(d.path) || !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if isEmpty(d.path) {
		_ = unix.Unmount(d.path, unix.UMOUNT_NOFOLLOW) // fails when it is in use or was not mounted
	}
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}
