// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// UserNamespace is a new user namespace for a pod (KEP-127). Its root owns the pod's other
// namespaces.
type UserNamespace struct {
	UIDs, GIDs IDMapping // start at ID 0
}

// IDMapping maps Size IDs, starting at Container inside and at Host outside.
type IDMapping struct {
	Container, Host, Size uint32
}

// makeNamespaces creates the user namespace and the other namespaces in it, and calls setUp inside
// the others. A thread cannot be in another user namespace than its process. Therefore a child
// process creates all namespaces, and the thread that configures the others only joins them.
//
// The kernel kills the child when the thread that started it ends, which Go's threads may do at any
// time: the thread is locked until the child is not needed any more. (containerd's
// pkg/sys.UnshareAfterEnterUserns unlocks it too early.)
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
			err := paths.each(func(name, _ string) error { return joinNamespace(fmt.Sprintf("/proc/%d/ns/%s", child.Pid, name)) })
			if err != nil {
				return err
			}
			return setUp()
		})
	})
}

// startChild starts a process in a new user namespace and in the other new namespaces in flags. It
// is stopped before its first instruction.
//
// The kernel charges resources that it limits per user, such as inotify instances, to the creator
// of the namespace. The creator must be the pod's user, not root.
func (u *UserNamespace) startChild(flags int) (*os.Process, error) {
	if err := setEUIDKeepingCaps(u.UIDs.Host); err != nil {
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
	return child, errors.Join(err, setEUIDKeepingCaps(0))
}

func (m IDMapping) sys() syscall.SysProcIDMap {
	return syscall.SysProcIDMap{ContainerID: int(m.Container), HostID: int(m.Host), Size: int(m.Size)}
}

// setEUIDKeepingCaps sets the effective UID of the current thread, which keeps its capabilities.
func setEUIDKeepingCaps(uid uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var capabilities [2]unix.CapUserData
	if err := unix.Capget(&header, &capabilities[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	const keep = ^uintptr(0)
	// syscall.Setresuid would set it for all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return fmt.Errorf("effective UID %d: %w", uid, errno)
	}
	if err := unix.Capset(&header, &capabilities[0]); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	return nil
}

// joinNamespace moves the current thread into a namespace.
func joinNamespace(path string) error {
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
