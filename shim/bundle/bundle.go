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
)

const (
	optionsFile = "options.json"
	runtimeFile = "runtime"
	initPidFile = "init.pid"
	deletedFile = "deleted"
	cgroupFile  = "cgroup.json"
	addressFile = "address"
	socketLink  = "socket"
)

// RuntimeLog is the name of the file in which the log of the runtime is kept.
const RuntimeLog = "log.json"

// Dir is the path of a bundle directory.
type Dir string

// Rootfs is where the root filesystem of the container is mounted.
func (d Dir) Rootfs() string { return d.path("rootfs") }

// Work is the directory for files that outlive a reboot; containerd links it.
func (d Dir) Work() string { return d.path("work") }

// Log is the FIFO that containerd copies to its own log.
func (d Dir) Log() string { return d.path("log") }

// Crash is where the Go runtime of a dying shim writes its last words.
func (d Dir) Crash() string { return d.path("shim-crash.log") }

// CriuDumpLog is where the log of an unsuccessful checkpoint is kept.
func (d Dir) CriuDumpLog() string { return d.path("criu-dump.log") }

// InitPidFile is where the runtime writes the process number of the init.
func (d Dir) InitPidFile() string { return d.path(initPidFile) }

// ExecPidFile is where the runtime writes the process number of an exec. The
// prefix keeps an exec called "init" apart from the init.
func (d Dir) ExecPidFile(execID string) string { return d.path("exec-" + execID + ".pid") }

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// WriteOptions records how the container is run, before it is.
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

// Options returns what WriteOptions recorded. The error is fs.ErrNotExist if
// no runtime was ever started for this bundle.
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

// ReadPid returns the process number in a pid file.
func ReadPid(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err == nil && pid <= 0 {
		err = strconv.ErrRange
	}
	if err != nil {
		return 0, fmt.Errorf("read pid file %s: %w", path, err)
	}
	return pid, nil
}

// MarkDeleted records that nothing of the container is left, so that the
// delete command has nothing to look for.
func (d Dir) MarkDeleted() error {
	if err := os.WriteFile(d.path(deletedFile), nil, 0o600); err != nil {
		return fmt.Errorf("mark deleted: %w", err)
	}
	return nil
}

// Deleted tells whether MarkDeleted was called.
func (d Dir) Deleted() bool {
	_, err := os.Lstat(d.path(deletedFile))
	return err == nil
}

// WriteCgroup records the control group of the container as JSON.
func (d Dir) WriteCgroup(group any) error {
	data, err := json.Marshal(group)
	if err != nil {
		return fmt.Errorf("write control group: %w", err)
	}
	if err := os.WriteFile(d.path(cgroupFile), data, 0o600); err != nil {
		return fmt.Errorf("write control group: %w", err)
	}
	return nil
}

// ReadCgroup reads into group what WriteCgroup recorded and tells whether
// there was anything.
func (d Dir) ReadCgroup(group any) (bool, error) {
	data, err := os.ReadFile(d.path(cgroupFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, group)
	}
	if err != nil {
		return false, fmt.Errorf("read control group: %w", err)
	}
	return true, nil
}

// WriteSocket records the path of the socket of the shim, as a link.
func (d Dir) WriteSocket(path string) error {
	_ = os.Remove(d.path(socketLink))
	if err := os.Symlink(path, d.path(socketLink)); err != nil {
		return fmt.Errorf("write socket: %w", err)
	}
	return nil
}

// Socket returns what WriteSocket recorded. The error is fs.ErrNotExist for a
// task that joined the shim of its pod without a start.
func (d Dir) Socket() (string, error) {
	path, err := os.Readlink(d.path(socketLink))
	if err != nil {
		return "", fmt.Errorf("read socket: %w", err)
	}
	return path, nil
}

// Of returns the bundle of another task of the same namespace.
func (d Dir) Of(id string) Dir { return Dir(filepath.Join(filepath.Dir(string(d)), filepath.Base(id))) }

// WriteAddress records the address of the shim, for a containerd that does not
// keep it itself (before 1.7).
func (d Dir) WriteAddress(address string) error {
	if err := os.WriteFile(d.path(addressFile), []byte(address), 0o600); err != nil {
		return fmt.Errorf("write address: %w", err)
	}
	return nil
}
