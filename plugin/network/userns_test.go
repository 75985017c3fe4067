// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The pod's user namespace owns its other namespaces, which are configured like those of any pod.
func TestPinUserNamespace(t *testing.T) {
	p, stateDir := newTestPinner(t)
	ids := IDMapping{Container: 0, Host: 100000, Size: 65536}
	ns, err := p.Pin(t.Context(), PinOptions{
		ID: "web", Net: true, IPC: true, UTS: true, Hostname: "inside",
		Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shmmni": "1234"},
		User:    &UserNamespace{UIDs: ids, GIDs: ids},
	})
	if err != nil {
		t.Fatal(err)
	}
	user := inode(t, ns.User)
	for _, path := range []string{ns.Net, ns.IPC, ns.UTS} {
		if got := ownerInode(t, path); got != user {
			t.Errorf("%s belongs to user namespace %d, want %d", path, got, user)
		}
	}
	if got := inNamespace(t, ns.UTS, unix.CLONE_NEWUTS, nodename); got != "inside" {
		t.Errorf("hostname = %q", got)
	}
	if got := inNamespace(t, ns.Net, unix.CLONE_NEWNET, readSysctl("net/ipv4/ip_unprivileged_port_start")); got != "80" {
		t.Errorf("net sysctl = %q", got)
	}
	if got := inNamespace(t, ns.IPC, unix.CLONE_NEWIPC, readSysctl("kernel/shmmni")); got != "1234" {
		t.Errorf("ipc sysctl = %q", got)
	}
	if !p.Pinned(ns) {
		t.Error("not pinned")
	}
	if err := p.Unpin(t.Context(), "web", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, stateDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return fileInode(t, int(f.Fd()))
}

// ownerInode returns the inode of the user namespace that owns the namespace at path.
func ownerInode(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	owner, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(owner)
	return fileInode(t, owner)
}

func fileInode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// Many namespaces are pinned in parallel, with and without user namespaces. The thread on which a
// user namespace is created must outlive the child process, which the kernel kills with it.
func TestPinUserNamespacesInParallel(t *testing.T) {
	p, stateDir := newTestPinner(t)
	ids := IDMapping{Container: 0, Host: 100000, Size: 65536}
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			options := PinOptions{ID: fmt.Sprintf("pod-%d", i), Net: true, IPC: true, UTS: true}
			if i%2 == 0 {
				options.User = &UserNamespace{UIDs: ids, GIDs: ids}
			}
			if _, err := p.Pin(t.Context(), options); err != nil {
				t.Error(err)
			}
			if err := p.Unpin(t.Context(), options.ID, Namespaces{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if left := leftovers(t, stateDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The kernel charges resources that it limits per user, such as inotify instances, to the pod's
// user and not to root.
func TestUserNamespaceCharge(t *testing.T) {
	p, _ := newTestPinner(t)
	ids := IDMapping{Container: 0, Host: 100000, Size: 65536}
	ns, err := p.Pin(t.Context(), PinOptions{ID: "web", Net: true, User: &UserNamespace{UIDs: ids, GIDs: ids}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Unpin(context.WithoutCancel(t.Context()), "web", Namespaces{}); err != nil {
			t.Error(err)
		}
	}()
	f, err := os.Open(ns.User)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	owner, err := unix.IoctlGetUint32(int(f.Fd()), unix.NS_GET_OWNER_UID)
	if err != nil {
		t.Fatal(err)
	}
	if owner != ids.Host {
		t.Errorf("owner of the user namespace is UID %d, want %d", owner, ids.Host)
	}
}
