// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/process"
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/internal/shimprocess"
	"github.com/containerd-lite/containerd-lite/shim/bootstrap"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/group"
)

// start answers with the address of a shim for the task: a running one, or a new one. If the answer
// cannot be written, containerd was killed and will not create the task.
func (r *request) start(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(unix.SIGPIPE) // makes a failed write of the answer an error
	params, err := bootstrap.Read(stdin, r.id, r.namespace)
	if err != nil {
		return err
	}
	r.debug = r.debug || params.Debug
	dir := bundle.Dir(r.bundle)
	slot, err := r.claim(ctx, dir, params)
	if err != nil {
		return err
	}
	answer, err := params.Answer(slot.Address())
	if err != nil {
		return err
	}
	if _, err := stdout.Write(answer); err != nil {
		return errors.Join(fmt.Errorf("write answer to containerd: %w", err), r.callOff(ctx, dir))
	}
	if params.Legacy {
		return dir.WriteAddress(slot.Address())
	}
	return nil
}

// claim joins the shim of the task's pod or a shim that the task may share, or starts a new shim.
// It records the socket in the bundle for the delete command.
func (r *request) claim(ctx context.Context, dir bundle.Dir, params *bootstrap.Params) (group.Slot, error) {
	spec, err := dir.Spec()
	if errors.Is(err, fs.ErrNotExist) {
		spec, err = &bundle.Spec{}, nil
	}
	if err != nil {
		return group.Slot{}, err
	}
	pod := spec.Group(r.id)
	tasks, err := r.group(params, pod)
	if err != nil {
		return group.Slot{}, err
	}
	if pod != r.id {
		if slot, joined := joinPod(ctx, dir.Of(pod), r.id); joined {
			return slot, dir.WriteSocket(slot.Path())
		}
	}
	slot, err := tasks.Claim(ctx, r.id, func(slot group.Slot, socket *os.File) error {
		return r.launch(slot, socket, params)
	})
	if err != nil {
		return slot, err
	}
	return slot, dir.WriteSocket(slot.Path())
}

// joinPod joins the shim that serves the pod of the task. The shim may belong to any group.
func joinPod(ctx context.Context, pod bundle.Dir, id string) (group.Slot, bool) {
	path, err := pod.Socket()
	if err != nil {
		return group.Slot{}, false
	}
	slot := group.At(path)
	joined, err := slot.Join(ctx, group.Join, id)
	return slot, joined && err == nil
}

// group returns the tasks that may share a shim: those of one pod, or all with the same options,
// which are also the options of the shim process. Tasks of a group have the same binary, so that
// after an upgrade new pods get new shims. Core scheduling (SCHED_CORE) isolates pods and so
// disables sharing.
func (r *request) group(params *bootstrap.Params, pod string) (group.Group, error) {
	pods := params.Options.Sharing
	if !pods.Shared() || os.Getenv(schedCore) != "" {
		return group.New(params.SocketDir, r.address, r.namespace, pod, shimoption.Pod)
	}
	key, err := params.Options.Key()
	if err != nil {
		return group.Group{}, err
	}
	var self unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &self); err != nil {
		return group.Group{}, fmt.Errorf("shim binary: %w", err)
	}
	// A running executable keeps its inode number, even when the file is deleted.
	name := fmt.Sprintf("%d\x00%d\x00%s", self.Dev, self.Ino, key)
	return group.New(params.SocketDir, r.address, r.namespace, name, pods)
}

// launch starts the shim. Its socket is already listening, so launch does not wait for the shim to
// be ready.
func (r *request) launch(slot group.Slot, socket *os.File, params *bootstrap.Params) error {
	opts := params.Options
	self, err := program()
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	shim := shimprocess.Shim{
		Namespace: r.namespace, ID: r.id, Address: r.address, Events: params.Events,
		Bundle: r.bundle, Socket: slot.Path(), Pods: int(opts.Sharing), Debug: r.debug,
	}
	cmd := shim.Command(self, socket)
	cmd.Args[0] = os.Args[0]
	if log, err := openLog(bundle.Dir(r.bundle)); err == nil {
		defer log.Close()
		cmd.Stderr = log
	}
	if err := startIsolated(cmd); err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	err = placeShim(cmd.Process.Pid, opts.GetShimCgroup())
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("start shim: %w", err)
	}
	return cmd.Process.Release()
}

// program returns a path of the running executable. If an upgrade has replaced or removed the file
// at the usual path meanwhile, it returns /proc/self/exe.
func program() (string, error) {
	const running = "/proc/self/exe"
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	ours, err := os.Stat(running)
	if err != nil {
		return "", err
	}
	if installed, err := os.Stat(self); err == nil && os.SameFile(ours, installed) {
		return self, nil
	}
	return running, nil
}

// startIsolated starts a command, with its own core scheduling cookie if containerd requests one
// with SCHED_CORE (prctl(2), PR_SCHED_CORE).
func startIsolated(cmd *exec.Cmd) error {
	if os.Getenv(schedCore) == "" {
		return cmd.Start()
	}
	const processGroup = 2 // PR_SCHED_CORE_SCOPE_PROCESS_GROUP
	runtime.LockOSThread() // the child inherits the cookie of the thread that forks
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_CREATE, 0, processGroup, 0); err != nil {
		return fmt.Errorf("core scheduling: %w", err)
	}
	return cmd.Start()
}

// placeShim moves a new shim to its cgroup, if one is configured, and sets its OOM score.
func placeShim(pid int, shimCgroup string) error {
	if shimCgroup != "" {
		if err := cgroup.Join(shimCgroup, pid); err != nil {
			return err
		}
	}
	return process.SacrificeBefore(pid, os.Getppid())
}
