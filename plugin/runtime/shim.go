// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// shimPrefix is the prefix of the name of every shim's binary; see containerd's docs/runtime-v2.md.
const shimPrefix = "containerd-shim-"

// KillShim kills the process of the shim that was started for the task with this ID. containerd
// then kills the task's processes and cleans up. The error is NotFound if there is no such process.
func KillShim(ctx context.Context, id string) error {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	found := false
	for _, dir := range dirs {
		killed, err := killIfShim(dir, namespace, id)
		if err != nil {
			return fmt.Errorf("kill shim of %s: %w", id, err)
		}
		found = found || killed
	}
	if !found {
		return fmt.Errorf("shim of %s: no such process: %w", id, errdefs.ErrNotFound)
	}
	return nil
}

// killIfShim kills the process of a directory in /proc if it is the shim of a task. The pidfd is
// opened before the command line is read, so that both are of the same process.
func killIfShim(dir, namespace, id string) (bool, error) {
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return false, nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false, nil // it has exited
	}
	defer unix.Close(fd)
	line, err := commandLine(dir)
	if err != nil || !isShim(line, namespace, id) {
		return false, nil
	}
	err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		err = nil
	}
	return true, err
}

// maxCommandLine bounds how many bytes of a command line are read. Any process can have a long one.
const maxCommandLine = 4 << 10

// commandLine returns the beginning of the command line of a process, in the format of
// /proc/<pid>/cmdline.
func commandLine(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, "cmdline"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCommandLine))
}

// isShim reports whether a command line is that of the shim of a task.
func isShim(line []byte, namespace, id string) bool {
	args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	return strings.HasPrefix(filepath.Base(args[0]), shimPrefix) &&
		valueOf(args, "-namespace") == namespace && valueOf(args, "-id") == id
}

// valueOf returns the argument after a flag, or "".
func valueOf(args []string, flag string) string {
	i := slices.Index(args, flag)
	if i < 0 || i+1 == len(args) {
		return ""
	}
	return args[i+1]
}
