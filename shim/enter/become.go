// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/enter/nofile"
)

// become gives this thread the attributes of the process, in the order in which runc gives them,
// and returns the program to execute. Other threads of this process keep theirs: system calls are
// made directly, because functions of Go's syscall package that set ids do so for all threads.
func (r *Request) become() (*program, error) {
	env, err := environment(r.Env)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	inside := false // the working directory has been entered
	err = inOrder(
		step{"set no_new_privs", r.setNoNewPrivs},
		step{"set umask", r.setUmask},
		step{"set limits", r.setLimits},
		// root may enter a directory that the user may not, and the other way round.
		step{"enter working directory", func() (err error) { inside, err = enterAsRoot(r.Cwd); return err }},
		step{"find home directory", func() (err error) { env, err = withHome(env, r.User.UID); return err }},
		step{"drop bounding capabilities", r.dropBounding},
		step{"own streams", r.ownStreams},
		step{"set user", r.setUser},
		step{"enter working directory", func() error {
			if inside {
				return nil
			}
			return unix.Chdir(r.Cwd)
		}},
		step{"check working directory", checkDirectory},
		step{"set capabilities", r.setCapabilities},
	)
	if err != nil {
		return nil, err
	}
	return newProgram(r.Args, env)
}

func (r *Request) setNoNewPrivs() error {
	if !r.NoNewPrivs {
		return nil
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

func (r *Request) setUmask() error {
	if r.HasUmask {
		unix.Umask(int(r.Umask))
	}
	return nil
}

// setLimits sets the limits of this process, which the child inherits. The limit of open files is
// at least restored to that with which this program was started.
func (r *Request) setLimits() error {
	inherited := unix.Rlimit{Cur: nofile.Inherited.Soft, Max: nofile.Inherited.Hard}
	if inherited == (unix.Rlimit{}) {
		return errors.New("limit of open files unknown")
	}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &inherited, nil); err != nil {
		return err
	}
	for _, l := range r.Limits {
		if err := unix.Prlimit(0, int(l.Resource), &unix.Rlimit{Cur: l.Soft, Max: l.Hard}, nil); err != nil {
			return fmt.Errorf("limit %d: %w", l.Resource, err)
		}
	}
	return nil
}

func enterAsRoot(dir string) (bool, error) {
	err := unix.Chdir(dir)
	if err == unix.EACCES || err == unix.EPERM {
		return false, nil
	}
	return err == nil, err
}

// checkDirectory checks that the working directory is below the root directory of the container
// (CVE-2024-21626).
func checkDirectory() error {
	var buffer [unix.PathMax]byte
	if _, err := unix.Getcwd(buffer[:]); err != nil {
		return err
	}
	if buffer[0] != '/' { // "(unreachable)", see getcwd(2)
		return errors.New("outside of the container")
	}
	return nil
}

// ownStreams makes the user the owner of the standard streams, so that it can open them by name.
func (r *Request) ownStreams() error {
	for fd := range 3 {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return err
		}
		null := stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == unix.Mkdev(1, 3)
		if null || uint64(stat.Uid) == r.User.UID {
			continue
		}
		err := unix.Fchown(fd, int(r.User.UID), -1)
		if err != nil && err != unix.EPERM && err != unix.EROFS {
			return err
		}
	}
	return nil
}

func (r *Request) setUser() error {
	// The permitted capabilities survive the change of the user, until setCapabilities.
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	groups := make([]uint32, len(r.User.Groups)+1) // one more, to have an address
	for i, group := range r.User.Groups {
		groups[i] = uint32(group)
	}
	if err := raw(unix.SYS_SETGROUPS, uintptr(len(r.User.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	gid, uid := uintptr(r.User.GID), uintptr(r.User.UID)
	if err := raw(unix.SYS_SETRESGID, gid, gid, gid); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if err := raw(unix.SYS_SETRESUID, uid, uid, uid); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_KEEPCAPS, 0, 0, 0, 0)
}

// raw makes a system call for this thread alone.
func raw(number, a1, a2, a3 uintptr) error {
	if _, _, errno := unix.RawSyscall(number, a1, a2, a3); errno != 0 {
		return errno
	}
	return nil
}

// capabilities is one more than the highest capability that a set has room for.
const capabilities = 64

func (r *Request) dropBounding() error {
	for c := range capabilities {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err == unix.EINVAL { // the kernel does not have it, nor any that follows
			if r.Capabilities.Bounding>>c != 0 {
				return errors.New("unknown to the kernel")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if held == 0 || r.Capabilities.Bounding&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) setCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		data[i] = unix.CapUserData{
			Effective:   uint32(r.Capabilities.Effective >> (32 * i)),
			Permitted:   uint32(r.Capabilities.Permitted >> (32 * i)),
			Inheritable: uint32(r.Capabilities.Inheritable >> (32 * i)),
		}
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient: %w", err)
	}
	for c := range capabilities {
		if r.Capabilities.Ambient&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("ambient: %w", err)
		}
	}
	return nil
}

// environment returns the variables without those that a later one of the same name replaces, and
// without an empty HOME, which withHome sets.
func environment(env []string) ([]string, error) {
	last := make(map[string]int, len(env))
	for i, variable := range env {
		name, _, ok := strings.Cut(variable, "=")
		if !ok || name == "" || strings.IndexByte(variable, 0) >= 0 {
			return nil, errors.New("bad variable")
		}
		last[name] = i
	}
	kept := make([]string, 0, len(env)+1)
	for i, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if last[name] == i && (name != "HOME" || value != "") {
			kept = append(kept, variable)
		}
	}
	return kept, nil
}
