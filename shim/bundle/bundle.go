// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/containerd/api/types/runc/options"

	"github.com/containerd-lite/containerd-lite/shim/deleted"
)

const (
	optionsFile = "options.json"
	runtimeFile = "runtime"
	initPidFile = "init.pid"
	cgroupFile  = "cgroup.json"
	addressFile = "address"
	socketLink  = "socket"
)

// RuntimeLog is the name of the file to which the OCI runtime writes its log.
const RuntimeLog = "log.json"

// Dir is the path of a bundle directory.
type Dir string

// Rootfs returns the mount point of the container's root filesystem.
func (d Dir) Rootfs() string { return d.path("rootfs") }

// Work returns the directory for files that survive a reboot. containerd makes it a link.
func (d Dir) Work() string { return d.path("work") }

// Log returns the path of the FIFO that containerd copies to its own log.
func (d Dir) Log() string { return d.path("log") }

// Crash returns the path of the file to which the Go runtime of a crashing shim writes its stacks.
func (d Dir) Crash() string { return d.path("shim-crash.log") }

// CriuDumpLog returns the path of CRIU's log of an unsuccessful checkpoint.
func (d Dir) CriuDumpLog() string { return d.path("criu-dump.log") }

// InitPidFile returns the path to which the runtime writes the PID of the init.
func (d Dir) InitPidFile() string { return d.path(initPidFile) }

// ExecPidFile returns the path to which the runtime writes the PID of an exec. The prefix
// distinguishes an exec with the id "init" from the init.
func (d Dir) ExecPidFile(execID string) string { return d.path("exec-" + execID + ".pid") }

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// WriteOptions records the runtime options. It is called before the runtime is started.
func (d Dir) WriteOptions(opts *options.Options) error {
	data, err := json.Marshal(opts)
	if err != nil {
		return fmt.Errorf("write options: %w", err)
	}
	if err := os.WriteFile(d.path(optionsFile), data, 0o600); err != nil {
		return fmt.Errorf("write options: %w", err)
	}
	if err := os.WriteFile(d.path(runtimeFile), []byte(opts.BinaryName), 0o600); err != nil {
		return fmt.Errorf("write runtime name: %w", err)
	}
	return nil
}

// Options returns the options that WriteOptions recorded. The error is fs.ErrNotExist if no runtime
// was ever started for this bundle.
func (d Dir) Options() (*options.Options, error) {
	data, err := os.ReadFile(d.path(optionsFile))
	if err != nil {
		return nil, fmt.Errorf("read options: %w", err)
	}
	opts := &options.Options{}
	if err := json.Unmarshal(data, opts); err != nil {
		return nil, fmt.Errorf("read options: %w", err)
	}
	return opts, nil
}

// ReadPid returns the PID in a PID file.
func ReadPid(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read PID file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err == nil && pid <= 0 {
		err = strconv.ErrRange
	}
	if err != nil {
		return 0, fmt.Errorf("read PID file %s: %w", path, err)
	}
	return pid, nil
}

// MarkDeleted records that the container is deleted, so that the delete command has nothing to
// clean up, and the answer of that command.
func (d Dir) MarkDeleted(answer []byte) error {
	if err := os.WriteFile(d.path(deleted.File), answer, 0o600); err != nil {
		return fmt.Errorf("mark deleted: %w", err)
	}
	return nil
}

// Deleted reports whether MarkDeleted was called.
func (d Dir) Deleted() bool {
	_, err := os.Lstat(d.path(deleted.File))
	return err == nil
}

// WriteCgroup records the cgroup of the container as JSON.
func (d Dir) WriteCgroup(group any) error {
	data, err := json.Marshal(group)
	if err != nil {
		return fmt.Errorf("write cgroup file: %w", err)
	}
	if err := os.WriteFile(d.path(cgroupFile), data, 0o600); err != nil {
		return fmt.Errorf("write cgroup file: %w", err)
	}
	return nil
}

// ReadCgroup reads the record of WriteCgroup into group and reports whether there is one.
func (d Dir) ReadCgroup(group any) (bool, error) {
	data, err := os.ReadFile(d.path(cgroupFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, group)
	}
	if err != nil {
		return false, fmt.Errorf("read cgroup file: %w", err)
	}
	return true, nil
}

// WriteSocket records the path of the shim's socket as a symbolic link.
func (d Dir) WriteSocket(path string) error {
	_ = os.Remove(d.path(socketLink))
	if err := os.Symlink(path, d.path(socketLink)); err != nil {
		return fmt.Errorf("write socket link: %w", err)
	}
	return nil
}

// Socket returns the path that WriteSocket recorded. The error is fs.ErrNotExist for a task that
// joined the shim of its pod without a start command.
func (d Dir) Socket() (string, error) {
	path, err := os.Readlink(d.path(socketLink))
	if err != nil {
		return "", fmt.Errorf("read socket link: %w", err)
	}
	return path, nil
}

// Of returns the bundle of another task in the same containerd namespace.
func (d Dir) Of(id string) Dir { return Dir(filepath.Join(filepath.Dir(string(d)), filepath.Base(id))) }

// WriteAddress records the address of the shim for containerd before 1.7, which does not record it
// itself.
func (d Dir) WriteAddress(address string) error {
	if err := os.WriteFile(d.path(addressFile), []byte(address), 0o600); err != nil {
		return fmt.Errorf("write address: %w", err)
	}
	return nil
}
