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
	// runtimeTimeout bounds the work of the runtime. containerd gives the command 5 s
	// (io.containerd.timeout.shim.cleanup), and then takes the exit status for
	// unknown; of a shim that many pods shared it deletes all tasks at once.
	runtimeTimeout = 4 * time.Second

	// socketTimeout bounds the look at the socket of a lost shim.
	socketTimeout = time.Second
)

// delete cleans up after a task whose shim is gone, and answers with how it
// ended. containerd runs it after every task, and in the usual case there is
// nothing left. What does not succeed is a warning: there is nobody after us.
func (r *request) delete(ctx context.Context, stdout, stderr io.Writer) error {
	dir := bundle.Dir(r.bundle)
	warn := func(err error) {
		if err != nil {
			fmt.Fprintf(stderr, "container %s: %s\n", r.id, err)
		}
	}
	if !dir.Deleted() {
		r.killRemains(ctx, dir, warn)
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

// killRemains ends the processes of the container and removes it from the
// runtime. The control group goes first: it ends everything at once, however
// many containers the lost shim had.
func (r *request) killRemains(ctx context.Context, dir bundle.Dir, warn func(error)) {
	processes := &cgroup.Group{}
	grouped, err := dir.ReadCgroup(processes)
	warn(err)
	if grouped {
		warn(processes.Kill(false))
		defer processes.Remove()
	}
	opts, err := dir.Options()
	if errors.Is(err, fs.ErrNotExist) {
		return // no runtime was ever started: the container of a pod without a process
	}
	if err != nil {
		warn(err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	runtime := oci.New(opts, r.namespace, filepath.Join(string(dir), bundle.RuntimeLog), func() func() { return func() {} })
	// runc takes 0.1 s longer if it is to look for processes first.
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

// callOff removes the socket of the lost shim. A shim that is there waits for
// the task, which will not come, or has others.
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

// lastExit returns what the shim recorded of the end of the init process. If
// it had no time to, the init was killed just now.
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
