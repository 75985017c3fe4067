// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/pkg/sys"
	"golang.org/x/sys/unix"
)

// UserNamespace is a new user namespace for a pod (KEP-127). Its root owns the
// pod's other namespaces.
type UserNamespace struct {
	UIDs, GIDs IDMapping // from id 0 on
}

// IDMapping maps Size ids, from Container on inside to Host on outside.
type IDMapping struct {
	Container, Host, Size uint32
}

func (m IDMapping) String() string { return fmt.Sprintf("%d:%d:%d", m.Container, m.Host, m.Size) }

// makeNamespaces makes the user namespace, the other namespaces in it, and
// calls setUp in those. A thread of this process cannot be in another user
// namespace than the process, so that a child makes them all; the thread that
// sets them up only joins what the child has made.
func (u *UserNamespace) makeNamespaces(flags int, paths Namespaces, setUp func() error) error {
	return sys.UnshareAfterEnterUserns(u.UIDs.String(), u.GIDs.String(), uintptr(flags), func(pid int) error {
		if err := bind(fmt.Sprintf("/proc/%d/ns/user", pid), paths.User); err != nil {
			return err
		}
		paths.User = ""
		return onThrowawayThread(func() error {
			err := paths.each(func(name, _ string) error { return join(fmt.Sprintf("/proc/%d/ns/%s", pid, name)) })
			if err != nil {
				return err
			}
			return setUp()
		})
	})
}

// join moves the current thread into a namespace.
func join(path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), 0); err != nil {
		return fmt.Errorf("join %s: %w", path, err)
	}
	return nil
}
