// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
)

// PinOptions describes the namespaces of one pod.
type PinOptions struct {
	ID string // of the pod; must be a valid file name
	// Namespaces that the pod has for itself. It shares the others with the node.
	Net, IPC, UTS bool
	// Hostname is set in the pod's own UTS namespace; empty keeps the node's.
	Hostname string
	// Sysctls are kernel parameters of the pod's own namespaces, by name. [Pinner.Tune] sets those
	// of the pod's network interfaces.
	Sysctls map[string]string
	// User is the user namespace that owns the others; nil for the node's.
	User *UserNamespace
}

func (o PinOptions) cloneFlags() (flags int) {
	if o.Net {
		flags |= unix.CLONE_NEWNET
	}
	if o.IPC {
		flags |= unix.CLONE_NEWIPC
	}
	if o.UTS {
		flags |= unix.CLONE_NEWUTS
	}
	return flags
}

// Namespaces are the paths of a pod's namespaces for OCI specs. An empty path means that the
// namespace is shared with the node.
type Namespaces struct {
	Net, IPC, UTS, User string
}

// each calls fn for every path that is set, with its name in /proc/<pid>/ns.
func (n Namespaces) each(fn func(name, path string) error) error {
	for _, ns := range [...]struct{ name, path string }{{"user", n.User}, {"net", n.Net}, {"ipc", n.IPC}, {"uts", n.UTS}} {
		if ns.path == "" {
			continue
		}
		if err := fn(ns.name, ns.path); err != nil {
			return err
		}
	}
	return nil
}

// Pinner creates and removes the namespaces of pods. It has no state of its own: all paths follow
// from the pod's ID.
type Pinner struct {
	paths    paths.Paths
	netnsDir *netnsDir
}

// NewPinner returns a Pinner that pins network namespaces in netnsDir, as "cni-<id>", and the
// others in the directories of the pods. An empty netnsDir means /var/run/netns, where other tools
// of the node look for them.
func NewPinner(p paths.Paths, netnsDir string) *Pinner {
	return &Pinner{paths: p, netnsDir: newNetnsDir(netnsDir)}
}

// Paths returns the paths at which all kinds of namespaces of a pod would be pinned.
func (p *Pinner) Paths(id string) Namespaces {
	dir := p.paths.Pod(id).Namespaces()
	return Namespaces{
		Net: filepath.Join(p.netnsDir.path, "cni-"+id),
		IPC: filepath.Join(dir, "ipc"),
		UTS: filepath.Join(dir, "uts"),

		User: filepath.Join(dir, "user"),
	}
}

// Pin creates the namespaces of a pod. The loopback interface of a new network namespace is up.
// After an error nothing is left.
//
// An invalid ID, hostname or sysctl (which the error names) is errdefs.ErrInvalidArgument, a pod
// that already has namespaces errdefs.ErrAlreadyExists.
func (p *Pinner) Pin(ctx context.Context, o PinOptions) (Namespaces, error) {
	paths := p.Plan(o)
	var u undo.Stack
	if err := p.pin(ctx, o, paths, &u); err != nil {
		// The rollback only unmounts and removes files, and needs no time limit.
		_, undoErr := u.Run(context.WithoutCancel(ctx))
		p.removeEmptyDirs(o.ID)
		return Namespaces{}, errors.Join(err, undoErr)
	}
	return paths, nil
}

func (p *Pinner) pin(ctx context.Context, o PinOptions, paths Namespaces, u *undo.Stack) error {
	if err := errors.Join(validID(o.ID), ctx.Err()); err != nil {
		return err
	}
	flags := o.cloneFlags()
	sysctls, err := parseSysctls(o.Sysctls, flags)
	if err != nil || (flags == 0 && o.User == nil) {
		return err
	}
	if o.Net {
		release, err := p.netnsDir.acquire()
		if err != nil {
			return err
		}
		defer release()
	}
	if err := makeFiles(paths, u); err != nil {
		return err
	}
	hostname := o.Hostname
	if !o.UTS {
		hostname = ""
	}
	setUp := func() error { return setUpNamespaces(hostname, sysctls, paths) }
	if o.User != nil {
		for i := range sysctls {
			sysctls[i].owner = int(o.User.UIDs.Host)
		}
		return o.User.makeNamespaces(flags, paths, setUp)
	}
	return onThrowawayThread(func() error {
		if err := unix.Unshare(flags); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return setUp()
	})
}

// Plan returns the paths at which Pin will pin the pod's own namespaces.
func (p *Pinner) Plan(o PinOptions) Namespaces {
	n := p.Paths(o.ID)
	if !o.Net {
		n.Net = ""
	}
	if !o.IPC {
		n.IPC = ""
	}
	if !o.UTS {
		n.UTS = ""
	}
	if o.User == nil {
		n.User = ""
	}
	return n
}

// makeFiles creates the files on which the namespaces are mounted.
func makeFiles(paths Namespaces, u *undo.Stack) error {
	return paths.each(func(name, path string) error {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", path, errdefs.ErrAlreadyExists)
		}
		if err != nil {
			return err
		}
		u.Push(name, func(context.Context) error { return unpin(path) })
		return f.Close()
	})
}

// setUpNamespaces configures the namespaces of the current thread and mounts them on the files. The
// user namespace is left out: the thread is never in that of the pod.
func setUpNamespaces(hostname string, sysctls []sysctl, paths Namespaces) error {
	if hostname != "" {
		if err := unix.Sethostname([]byte(hostname)); err == unix.EINVAL {
			return fmt.Errorf("hostname %q is longer than 64 bytes: %w", hostname, errdefs.ErrInvalidArgument)
		} else if err != nil {
			return fmt.Errorf("hostname: %w", err)
		}
	}
	if err := setEarly(sysctls); err != nil {
		return err
	}
	if paths.Net != "" {
		if err := setLoopbackUp(); err != nil {
			return err
		}
	}
	paths.User = ""
	return paths.each(func(name, path string) error { return bind("/proc/thread-self/ns/"+name, path) })
}

func bind(namespace, path string) error {
	if err := unix.Mount(namespace, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s at %s: %w", namespace, path, err)
	}
	return nil
}

func setLoopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback interface up: %w", err)
	}
	return nil
}

// Unpin removes the namespaces of a pod as far as they exist: all of them, some, only their files
// after a reboot, or none. Processes in a namespace keep it alive without a path. Unpin removes the
// paths in known, which can differ from the current ones if the configuration has changed, and the
// current ones.
func (p *Pinner) Unpin(ctx context.Context, id string, known Namespaces) error {
	if err := errors.Join(validID(id), ctx.Err()); err != nil {
		return err
	}
	names := map[string]string{} // by path; usually both have the same paths
	for _, paths := range []Namespaces{known, p.Paths(id)} {
		_ = paths.each(func(name, path string) error {
			if !strings.HasPrefix(path, "/proc/") { // of a process, whose end removes it
				names[path] = name
			}
			return nil
		})
	}
	var errs []error
	for path, name := range names {
		if err := unpin(path); err != nil {
			errs = append(errs, fmt.Errorf("unpin %s namespace: %w", name, err))
		}
	}
	p.removeEmptyDirs(id)
	return errors.Join(errs...)
}

// removeEmptyDirs removes the directories of a pod if they are empty, and the mount of the netns
// directory if it is unused.
func (p *Pinner) removeEmptyDirs(id string) {
	if validID(id) == nil {
		pod := p.paths.Pod(id)
		_ = os.Remove(pod.Namespaces())
		_ = os.Remove(pod.State)
	}
	p.netnsDir.unmountUnused()
}

// Pinned reports whether all namespaces in ns are still pinned. They are not after a reboot, or
// when another program unmounted one. Shared namespaces have no path and count as pinned.
func (p *Pinner) Pinned(ns Namespaces) bool {
	err := ns.each(func(_, path string) error {
		f, err := openNamespace(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
	return err == nil
}

// unpin unmounts and removes the file of a namespace.
func unpin(path string) error {
	const maxStacked = 16 // mounts on one file; Pin makes one
	for range maxStacked {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT { // not mounted, no file
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// validID refuses IDs that would lead out of the directories of the Pinner.
func validID(id string) error {
	if id == "" || strings.ContainsAny(id, "/\x00") || !filepath.IsLocal(id) || id == "." {
		return fmt.Errorf("id %q is not a file name: %w", id, errdefs.ErrInvalidArgument)
	}
	return nil
}
