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
)

// PinOptions describes the namespaces of one pod.
type PinOptions struct {
	ID string // of the pod sandbox; a file name
	// The namespaces that are the pod's own. The others it shares with the node.
	Net, IPC, UTS bool
	// Hostname is set in the pod's own UTS namespace; empty leaves the node's.
	Hostname string
	// Sysctls are kernel parameters of the pod's own namespaces, by name. Those that only the pod's
	// interfaces have are set by [Pinner.Tune].
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

// Namespaces are the paths of a pod's namespaces, as the container spec wants
// them. An empty path is a namespace shared with the node.
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

// Pinner makes and removes the namespaces of pods. It keeps no record: all
// paths follow from the pod's id.
type Pinner struct {
	stateDir string
	netnsDir *netnsDir
}

// NewPinner returns a Pinner that puts network namespaces into netnsDir, as
// "cni-<id>", and the others below stateDir, into sandboxes/<id>/ns. An empty
// netnsDir is /var/run/netns, where other tools of the node look for them.
func NewPinner(stateDir, netnsDir string) *Pinner {
	return &Pinner{stateDir: stateDir, netnsDir: newNetnsDir(netnsDir)}
}

// Paths returns where all namespaces of the pod id are pinned, if they are.
func (p *Pinner) Paths(id string) Namespaces {
	dir := filepath.Join(p.stateDir, "sandboxes", id, "ns")
	return Namespaces{
		Net: filepath.Join(p.netnsDir.path, "cni-"+id),
		IPC: filepath.Join(dir, "ipc"),
		UTS: filepath.Join(dir, "uts"),

		User: filepath.Join(dir, "user"),
	}
}

// Pin makes the namespaces of a pod. The loopback interface of a new network
// namespace is up. On an error nothing is left.
//
// A bad id, hostname or sysctl (it names the parameter) is errdefs.ErrInvalidArgument, a pod that
// already has namespaces is errdefs.ErrAlreadyExists.
func (p *Pinner) Pin(ctx context.Context, o PinOptions) (Namespaces, error) {
	paths := p.Plan(o)
	var u undo.Stack
	if err := p.pin(ctx, o, paths, &u); err != nil {
		// It unmounts and removes files: it needs no bound in time.
		_, undoErr := u.Run(context.WithoutCancel(ctx))
		p.tidy(o.ID)
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

// Plan returns the paths at which Pin is going to pin the namespaces that are the
// pod's own.
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

// makeFiles makes the files to mount the namespaces on.
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

// setUpNamespaces sets up the namespaces of the current thread and mounts them
// on the files. The thread is never in the pod's user namespace.
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

// Unpin removes the namespaces of the pod id as far as they exist: all of
// them, some, only their files after a reboot, or none. Processes that are
// still in a namespace keep it alive, but nameless. They are where known says, which
// is elsewhere if the pod was made under another configuration, or where they would be
// now.
func (p *Pinner) Unpin(ctx context.Context, id string, known Namespaces) error {
	if err := errors.Join(validID(id), ctx.Err()); err != nil {
		return err
	}
	names := map[string]string{} // by path: mostly the same in both
	for _, paths := range []Namespaces{known, p.Paths(id)} {
		_ = paths.each(func(name, path string) error { names[path] = name; return nil })
	}
	var errs []error
	for path, name := range names {
		if err := unpin(path); err != nil {
			errs = append(errs, fmt.Errorf("unpin %s namespace: %w", name, err))
		}
	}
	p.tidy(id)
	return errors.Join(errs...)
}

// tidy removes the directories that are no longer needed. Those that hold
// anything else stay.
func (p *Pinner) tidy(id string) {
	if validID(id) == nil {
		dir := filepath.Dir(p.Paths(id).IPC)
		_ = os.Remove(dir)
		_ = os.Remove(filepath.Dir(dir))
	}
	p.netnsDir.tidy()
}

// Pinned tells whether every namespace that ns names is still pinned. After a
// reboot, and when somebody unmounted one, it is not. Shared namespaces have no
// path and are always there.
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

// unpin removes the file of a namespace and whatever is mounted on it.
func unpin(path string) error {
	const maxStacked = 16 // mounts on one file; the program itself makes one
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

// validID keeps ids from leading out of the directories of the Pinner.
func validID(id string) error {
	if id == "" || strings.ContainsAny(id, "/\x00") || !filepath.IsLocal(id) || id == "." {
		return fmt.Errorf("id %q is not a file name: %w", id, errdefs.ErrInvalidArgument)
	}
	return nil
}
