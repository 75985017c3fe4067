// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"time"

	runc "github.com/containerd/go-runc"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/process"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// monitor starts the commands of go-runc and waits for them in Go's poller. go-runc itself waits in
// a system call: it would block the only processor of the shim until the Go runtime notices, up to
// 10 ms later.
type monitor struct {
	await func(*exec.Cmd) runc.Exit
}

var _ runc.ProcessMonitor = monitor{}

// WaitInPoller makes go-runc use the poller. It is called once, before any command.
func WaitInPoller() { runc.Monitor = monitor{await} }

// Start implements runc.ProcessMonitor.
func (m monitor) Start(cmd *exec.Cmd) (chan runc.Exit, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan runc.Exit, 1)
	go guard.Catch(context.Background(), name(cmd), func() { ended <- m.await(cmd) }, killUnwaited(cmd, ended))()
	return ended, nil
}

// StartLocked implements runc.ProcessMonitor. The thread that starts a command must live as long as
// the command: with PR_SET_PDEATHSIG the kernel kills a child when the thread that started it ends
// (prctl(2)).
func (m monitor) StartLocked(cmd *exec.Cmd) (chan runc.Exit, error) {
	started := make(chan error, 1)
	ended := make(chan runc.Exit, 1)
	go guard.Catch(context.Background(), name(cmd), func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- m.await(cmd)
		}
	}, killUnwaited(cmd, ended))()
	if err := <-started; err != nil {
		return nil, err
	}
	return ended, nil
}

// name returns the name of a command for the log; its arguments contain the container's id.
func name(cmd *exec.Cmd) string { return "wait for " + strings.Join(cmd.Args, " ") }

// killUnwaited kills a command after a panic in the goroutine that waits for it.
func killUnwaited(cmd *exec.Cmd, ended chan<- runc.Exit) func(error) {
	return func(error) {
		_ = cmd.Process.Kill()
		ended <- runc.Exit{Timestamp: time.Now(), Pid: cmd.Process.Pid, Status: reap.StatusUnknown}
	}
}

// Wait implements runc.ProcessMonitor.
func (monitor) Wait(_ *exec.Cmd, ended chan runc.Exit) (int, error) {
	return (<-ended).Status, nil
}

func await(cmd *exec.Cmd) runc.Exit {
	// Without a pidfd AwaitEnd returns at once and cmd.Wait blocks, with the same result.
	_ = process.AwaitEnd(cmd.Process.Pid)
	status := 0
	if err := cmd.Wait(); err != nil {
		status = reap.StatusUnknown
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
			status = exit.ExitCode()
		}
	}
	return runc.Exit{Timestamp: time.Now(), Pid: cmd.Process.Pid, Status: status}
}
