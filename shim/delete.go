// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/group"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

const (
	// runtimeTimeout bounds the commands of the OCI runtime. containerd gives the delete command 5
	// s (io.containerd.timeout.shim.cleanup) and then records an unknown exit status; after the
	// loss of a shared shim it runs one delete command per task at the same time.
	runtimeTimeout = 4 * time.Second

	// socketTimeout bounds the connection to the socket of a lost shim.
	socketTimeout = time.Second
)

// delete cleans up after a task whose shim is gone, and answers with the exit status of the task.
// containerd runs the command after every task; usually the task was deleted, and package deleted
// has answered. If a shim of an older release deleted it, delete answers. Errors are only logged as
// warnings, because no later step could retry the cleanup.
func (r *request) delete(ctx context.Context, stdout, stderr io.Writer) error {
	dir := bundle.Dir(r.bundle)
	warn := func(err error) {
		if err != nil {
			fmt.Fprintf(stderr, "container %s: %s\n", r.id, err)
		}
	}
	if !dir.Deleted() {
		r.killRemaining(ctx, dir, warn)
		warn(unmountRootfs(dir))
		warn(r.callOff(ctx, dir))
	}
	data, err := proto.Marshal(lastExit(dir, warn))
	if err != nil {
		return fmt.Errorf("container %s: encode answer: %w", r.id, err)
	}
	_, err = stdout.Write(data)
	return err
}

// killRemaining kills the processes of the container and deletes the container in the OCI runtime.
// It kills the cgroup first, which ends all processes at once, even if the lost shim had many
// containers.
func (r *request) killRemaining(ctx context.Context, dir bundle.Dir, warn func(error)) {
	processes := &cgroup.Group{}
	grouped, err := dir.ReadCgroup(processes)
	warn(err)
	if grouped {
		warn(processes.Kill(false))
		defer processes.Remove()
	}
	opts, err := dir.Options()
	if errors.Is(err, fs.ErrNotExist) {
		return // a holder: the OCI runtime was never called
	}
	if err != nil {
		warn(err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	runtime := oci.New(opts, r.namespace, filepath.Join(string(dir), bundle.RuntimeLog), func() func() { return func() {} })
	// Without force first: with it runc takes 0.1 s longer because it looks for processes.
	if runtime.Delete(ctx, r.id, false) != nil {
		warn(runtime.Delete(ctx, r.id, true))
	}
}

func unmountRootfs(dir bundle.Dir) error {
	if err := mount.UnmountRecursive(dir.Rootfs(), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount rootfs: %w", err)
	}
	return nil
}

// callOff removes the socket of the lost shim. If the shim still runs, callOff makes it stop
// waiting for this task; the shim exits if it has no other task.
func (r *request) callOff(ctx context.Context, dir bundle.Dir) error {
	path, err := dir.Socket()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	return group.At(path).CallOff(ctx, r.id)
}

// lastExit returns the exit of the init process that the shim recorded in the bundle. Without a
// record the init is reported as killed now.
func lastExit(dir bundle.Dir, warn func(error)) *taskapi.DeleteResponse {
	exit, err := dir.Exit()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			warn(err)
		}
		exit = bundle.Exit{Timestamp: time.Now(), Status: reap.StatusKilled}
		exit.Pid, err = bundle.ReadPid(dir.InitPidFile())
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			warn(err)
		}
	}
	return &taskapi.DeleteResponse{
		Pid:        uint32(exit.Pid),
		ExitStatus: uint32(exit.Status),
		ExitedAt:   timestamppb.New(exit.Timestamp),
	}
}
