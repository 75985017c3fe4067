// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// sysctl is a kernel parameter to set in one of the pod's own namespaces.
type sysctl struct {
	name, value string
	path        string // below /proc/sys
	clone       int    // flag of clone(2) for its namespace
	owner       int    // host UID of root in the pod's user namespace; 0 without one
}

// errNoSysctl marks the error for a parameter that does not exist.
var errNoSysctl = errors.New("unknown to this kernel, or of an interface that the pod does not have")

// parseSysctls checks that every parameter belongs to a namespace in flags: others would change the
// node or another pod. It returns them in the order in which they must be set.
func parseSysctls(values map[string]string, flags int) ([]sysctl, error) {
	var list []sysctl
	seen := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		s := sysctl{name: name, value: values[name], path: sysctlPath(name)}
		s.clone = sysctlNamespace(s.path)
		if s.clone == 0 {
			return nil, fmt.Errorf("sysctl %q is not one of a network, IPC or UTS namespace: %w", name, errdefs.ErrInvalidArgument)
		}
		if flags&s.clone == 0 {
			return nil, fmt.Errorf("sysctl %q belongs to a namespace that the pod shares with the node: %w", name, errdefs.ErrInvalidArgument)
		}
		if other, ok := seen[s.path]; ok {
			return nil, fmt.Errorf("sysctls %q and %q are the same: %w", other, name, errdefs.ErrInvalidArgument)
		}
		seen[s.path] = name
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(x, y sysctl) int { return cmp.Compare(x.scope(), y.scope()) })
	return list, nil
}

// scope orders parameters from general to specific: writing net.ipv4.ip_forward sets
// net.ipv4.conf.*.forwarding, and writing net.ipv6.conf.all.disable_ipv6 sets that of default and
// of each interface.
func (s sysctl) scope() int {
	parts := strings.Split(s.path, "/") // net/ipv4/conf/eth0/rp_filter
	switch {
	case len(parts) != 5 || parts[2] != "conf" && parts[2] != "neigh":
		return 0
	case parts[3] == "all":
		return 1
	case parts[3] == "default":
		return 2
	}
	return 3
}

// setEarly sets the parameters of the current thread's namespaces that exist already. Interfaces
// are created later and inherit their initial values from conf.default.
func setEarly(sysctls []sysctl) error {
	for _, s := range sysctls {
		err := s.set()
		if errors.Is(err, errNoSysctl) && s.clone == unix.CLONE_NEWNET {
			continue // of an interface that does not exist yet
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Tune sets the parameters of a pod's network namespace again, after CNI plugins created its
// interfaces: Pin could not set those of the interfaces, and a plugin may have changed others. A
// parameter that still does not exist is errdefs.ErrInvalidArgument.
func (p *Pinner) Tune(o PinOptions) error {
	sysctls, err := parseSysctls(o.Sysctls, o.cloneFlags())
	if err != nil {
		return err
	}
	sysctls = slices.DeleteFunc(sysctls, func(s sysctl) bool { return s.clone != unix.CLONE_NEWNET })
	if len(sysctls) == 0 {
		return nil
	}
	return InNetNS(p.Paths(o.ID).Net, func() error {
		for _, s := range sysctls {
			if err := s.set(); err != nil {
				return err
			}
		}
		return nil
	})
}

// sysctlPath returns the path of a parameter below /proc/sys. As in sysctl(8), the first separator
// decides: names written with dots have slashes where a component contains a dot
// (net.ipv4.conf.eth0/100.rp_filter). It returns "" for a name that would lead elsewhere.
func sysctlPath(name string) string {
	p := name
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		p = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	if !fs.ValidPath(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return ""
	}
	return p
}

// sysctlNamespace returns the clone(2) flag of the namespace that has the parameter, or 0 if no
// namespace of a pod has it.
func sysctlNamespace(p string) int {
	switch {
	case strings.HasPrefix(p, "net/"):
		return unix.CLONE_NEWNET
	case strings.HasPrefix(p, "fs/mqueue/"):
		return unix.CLONE_NEWIPC
	case p == "kernel/domainname":
		return unix.CLONE_NEWUTS
	}
	name, ok := strings.CutPrefix(p, "kernel/")
	if !ok || strings.Contains(name, "/") {
		return 0
	}
	for _, prefix := range []string{"shm", "msg", "sem"} {
		if strings.HasPrefix(name, prefix) {
			return unix.CLONE_NEWIPC
		}
	}
	return 0
}

// set writes the parameter for the namespaces of the current thread. Those of an IPC namespace can
// only be written by root of its user namespace, not by root of the node.
func (s sysctl) set() error {
	if s.clone == unix.CLONE_NEWIPC && s.owner != 0 {
		return withEUID(s.owner, s.write)
	}
	return s.write()
}

// withEUID runs fn with another effective UID of the current thread.
func withEUID(uid int, fn func() error) error {
	const keep = ^uintptr(0)
	setEUID := func(uid int) error {
		// unix.Setresuid would set it for all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
			return fmt.Errorf("effective uid %d: %w", uid, errno)
		}
		return nil
	}
	if err := setEUID(uid); err != nil {
		return err
	}
	return errors.Join(fn(), setEUID(0))
}

func (s sysctl) write() error {
	fd, err := unix.Open("/proc/sys/"+s.path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return fmt.Errorf("sysctl %q: %w: %w", s.name, errNoSysctl, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return fmt.Errorf("sysctl %q: open: %w", s.name, err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(s.value))
	if err == unix.EINVAL || err == unix.ERANGE {
		return fmt.Errorf("sysctl %q: the kernel refuses the value %q: %w", s.name, s.value, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return fmt.Errorf("sysctl %q: write: %w", s.name, err)
	}
	return nil
}
