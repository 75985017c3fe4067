// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// onThrowawayThread runs fn on an OS thread that ends after it, so that fn may change the thread's
// namespaces and need not restore them.
func onThrowawayThread(fn func() error) error {
	return <-guard.Start(context.Background(), "work in a namespace", func() error {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and /proc/self shows its namespaces. While this goroutine
			// occupies it, the nested call gets another thread.
			defer runtime.UnlockOSThread()
			return onThrowawayThread(fn)
		}
		return fn()
	})
}

// InNetNS runs fn on a thread in the network namespace pinned at path. Sockets that fn itself opens
// belong to the namespace; goroutines that it starts run outside. A path that does not exist is
// errdefs.ErrNotFound; a file on which no namespace is mounted is errdefs.ErrFailedPrecondition.
func InNetNS(path string, fn func() error) error {
	ns, err := openNamespace(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return onThrowawayThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return fn()
	})
}

// IsPinned reports whether a namespace is pinned at path. After a reboot or an unmount only the
// file is left, and IsPinned returns false.
func IsPinned(path string) bool {
	ns, err := openNamespace(path)
	if err != nil {
		return false
	}
	ns.Close()
	return true
}

// openNamespace opens a file and checks that a namespace is mounted on it.
func openNamespace(path string) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("namespace %s: %w", path, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("namespace %s: file system: %w", path, err)
	}
	if st.Type != unix.NSFS_MAGIC {
		f.Close()
		return nil, fmt.Errorf("namespace %s: not mounted: %w", path, errdefs.ErrFailedPrecondition)
	}
	return f, nil
}
