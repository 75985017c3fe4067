// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"os"
	"syscall"

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

// makeNamespaces makes the user namespace, the other namespaces in it, and
// calls setUp in those. A thread of this process cannot be in another user
// namespace than the process, so that a child makes them all; the thread that
// sets them up only joins what the child has made.
//
// The kernel kills the child when the thread that started it ends, which a
// thread of a Go program may do at any time: it is locked until the end.
// (containerd's pkg/sys.UnshareAfterEnterUserns gives it back before.)
func (u *UserNamespace) makeNamespaces(flags int, paths Namespaces, setUp func() error) error {
	return onThrowawayThread(func() error {
		child, err := u.startChild(flags)
		if err != nil {
			return fmt.Errorf("user namespace: %w", err)
		}
		defer func() {
			_ = child.Kill()
			_, _ = child.Wait()
		}()
		if err := bind(fmt.Sprintf("/proc/%d/ns/user", child.Pid), paths.User); err != nil {
			return err
		}
		paths.User = ""
		return onThrowawayThread(func() error {
			err := paths.each(func(name, _ string) error { return join(fmt.Sprintf("/proc/%d/ns/%s", child.Pid, name)) })
			if err != nil {
				return err
			}
			return setUp()
		})
	})
}

// startChild starts a process in a new user namespace and in other new ones, as
// flags say. It is stopped before its first instruction.
//
// The kernel charges what it limits per user, such as inotify instances, to who
// made the namespace. That is to be the pod's user, not root.
func (u *UserNamespace) startChild(flags int) (*os.Process, error) {
	if err := actAs(u.UIDs.Host); err != nil {
		return nil, err
	}
	child, err := os.StartProcess("/proc/self/exe", []string{"namespaces"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER,
		Unshareflags:               uintptr(flags),
		UidMappings:                []syscall.SysProcIDMap{u.UIDs.sys()},
		GidMappings:                []syscall.SysProcIDMap{u.GIDs.sys()},
		GidMappingsEnableSetgroups: true,
		Ptrace:                     true,
		Pdeathsig:                  syscall.SIGKILL,
	}})
	return child, errors.Join(err, actAs(0))
}

func (m IDMapping) sys() syscall.SysProcIDMap {
	return syscall.SysProcIDMap{ContainerID: int(m.Container), HostID: int(m.Host), Size: int(m.Size)}
}

// actAs makes uid the effective user of the current thread, which keeps its
// capabilities.
func actAs(uid uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var capabilities [2]unix.CapUserData
	if err := unix.Capget(&header, &capabilities[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	const keep = ^uintptr(0)
	// The functions of package syscall would do it to all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return fmt.Errorf("act as uid %d: %w", uid, errno)
	}
	if err := unix.Capset(&header, &capabilities[0]); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	return nil
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
