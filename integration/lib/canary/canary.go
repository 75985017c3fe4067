// SPDX-License-Identifier: Apache-2.0

package canary

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// Secret is the content of the canary's files: a container, log or error that contains it has read
// a file of the host.
const Secret = "canary-5b1f0c7e"

// sysctls are those that a pod's sysctls, or a misdirected write, would change on the host.
var sysctls = [...]string{
	"fs/mqueue/msg_max", "fs/suid_dumpable", "kernel/core_pattern", "kernel/hostname", "kernel/modprobe",
	"kernel/msgmax", "kernel/panic", "kernel/shm_rmid_forced", "kernel/shmmax",
	"net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range", "net/ipv4/tcp_syncookies",
	"vm/overcommit_memory", "vm/swappiness",
}

// Host is the watched part of the host.
type Host struct {
	dir     string
	watched []string
}

// Plant creates the canary's files below dir, which must be empty, and also watches the host's
// files in watched.
func Plant(dir string, watched ...string) (*Host, error) {
	h := &Host{dir: dir, watched: watched}
	for name, mode := range map[string]fs.FileMode{"file": 0o640, "private": 0o600, "program": 0o755, "passwd": 0o644} {
		content := Secret + "\n"
		if name == "passwd" {
			content = "intruder:x:0:0:" + Secret + ":/:/bin/sh\n"
		}
		if err := os.WriteFile(h.Path(name), []byte(content), mode); err != nil {
			return nil, fmt.Errorf("canary: %w", err)
		}
	}
	if err := os.Mkdir(h.Path("dir"), 0o750); err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	if err := os.WriteFile(h.Path("dir", "inner"), []byte(Secret+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	return h, nil
}

// Path returns a path below the canary's directory.
func (h *Host) Path(elem ...string) string {
	return filepath.Join(append([]string{h.dir}, elem...)...)
}

// Look returns the current state.
func (h *Host) Look() (harness.State, error) {
	state := harness.State{}
	err := filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return addFile(state, path)
	})
	errs := []error{err}
	for _, path := range h.watched {
		errs = append(errs, addFile(state, path))
	}
	for _, name := range sysctls {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			state["sysctl"] = append(state["sysctl"], name+" = "+strings.TrimSpace(string(value)))
		}
	}
	sockets, err := AbstractSockets()
	state["abstract socket"] = sockets
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	return state, nil
}

// addFile records everything about a file that can be changed.
func addFile(state harness.State, path string) error {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	content := ""
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		content = fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		content = "-> " + target
	}
	state["canary"] = append(state["canary"], fmt.Sprintf("%s mode %o owner %d:%d links %d modified %d.%09d %s",
		path, s.Mode, s.Uid, s.Gid, s.Nlink, s.Mtim.Sec, s.Mtim.Nsec, content))
	return nil
}

// AbstractSockets returns the abstract sockets of runtimes in the host's network namespace.
func AbstractSockets() ([]string, error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		_, name, abstract := strings.Cut(lines.Text(), " @")
		if abstract && (strings.Contains(name, "containerd") || strings.Contains(name, "shim") || strings.Contains(name, "runc")) {
			found = append(found, "@"+name)
		}
	}
	return found, lines.Err()
}
