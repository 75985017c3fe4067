// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/enter"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// Exec is a process to start in a container.
type Exec struct {
	Init *reap.Child
	// Cgroups are the directories of the container's cgroup by controller, as runc records them.
	Cgroups map[string]string
	Process *specs.Process
	// Target has the streams and the PID file, which Start writes as the runtime does.
	Target *oci.Process
}

// Start starts a process. It becomes a child of the shim, like one that the runtime has started.
// After an error no program was executed. The caller has a Hold (reap.Reaper).
func (c *Container) Start(ctx context.Context, e *Exec) error {
	r, err := c.request(e.Process)
	if err != nil {
		return err
	}
	r.InitPID = uint64(e.Init.Pid())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // kills the program after an error
	program, err := newProgram(ctx, r, e)
	if err != nil {
		return err
	}
	defer program.close()
	ended, err := program.start()
	if err != nil {
		return err
	}
	if err := program.run(ctx, r, e.Target.PidFile); err != nil {
		_ = os.Remove(e.Target.PidFile)
		return err
	}
	if streams, ok := e.Target.IO.(runc.StartCloser); ok {
		_ = streams.CloseAfterStart() // the process has inherited its ends of the streams
	}
	select {
	case <-ended:
	case <-ctx.Done(): // the cgroup is frozen, and with it the program
	}
	return nil
}

// environment is the environment of the program. It has nothing of the container.
var environment = []string{"GOGC=off", "GOMAXPROCS=1"}

// program is a running program of package enter.
type program struct {
	cmd    *exec.Cmd
	conn   *conversation
	closed []*os.File // the files that it inherits
}

func newProgram(ctx context.Context, r *enter.Request, e *Exec) (p *program, err error) {
	if e.Target.IO == nil {
		return nil, errors.New("terminal")
	}
	self, err := executable()
	if err != nil {
		return nil, err
	}
	p = &program{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	socket, err := p.converse()
	if err != nil {
		return nil, err
	}
	pidfd, err := e.Init.Pidfd()
	if err != nil {
		return nil, err
	}
	p.closed = append(p.closed, pidfd)
	// The path does not depend on the file descriptors of the child.
	p.cmd = exec.CommandContext(ctx, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), self.Fd()))
	p.cmd.Args = []string{enter.Name}
	p.cmd.Env = environment
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = []*os.File{socket, pidfd} // enter.SocketFile, enter.PidfdFile
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	e.Target.IO.Set(p.cmd)
	return p, p.chooseCgroup(r, e.Cgroups, cgroup.IsV2())
}

// converse connects the program with the shim and returns its end.
func (p *program) converse() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	p.closed = append(p.closed, theirs)
	p.conn, err = newConversation(fds[0])
	return theirs, err
}

// chooseCgroup makes the program start in the cgroup (v2), or join it (v1).
func (p *program) chooseCgroup(r *enter.Request, cgroups map[string]string, v2 bool) error {
	if len(cgroups) == 0 {
		return errors.New("cgroup unknown")
	}
	if !v2 {
		for _, dir := range slices.Sorted(maps.Values(cgroups)) {
			r.CgroupProcs = append(r.CgroupProcs, filepath.Join(dir, "cgroup.procs"))
		}
		r.CgroupProcs = slices.Compact(r.CgroupProcs)
		return nil
	}
	// If the init has moved to another cgroup, this may fail, and the runtime follows it.
	dir, err := os.OpenFile(cgroups[cgroup.Unified], unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	p.closed = append(p.closed, dir)
	p.cmd.SysProcAttr.UseCgroupFD, p.cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return nil
}

func (p *program) close() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.closeFiles()
}

func (p *program) closeFiles() {
	for _, f := range p.closed {
		_ = f.Close()
	}
	p.closed = nil
}

func (p *program) start() (chan runc.Exit, error) {
	// The shim must not hold the program's end of the socket, whose closing is a message.
	defer p.closeFiles()
	ended, err := runc.Monitor.StartLocked(p.cmd)
	if err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	return ended, nil
}

// run lets the program start the process. The process executes its program when its PID is
// recorded.
func (p *program) run(ctx context.Context, r *enter.Request, pidFile string) error {
	// The program may hang, for example if the container's file system does.
	defer context.AfterFunc(ctx, func() { p.conn.Close() })()
	if err := p.conn.send(r); err != nil {
		return err
	}
	pid, err := p.conn.awaitReady()
	if err != nil {
		return err
	}
	if err = writePid(pidFile, pid); err == nil {
		err = p.conn.release()
	}
	if err != nil {
		discard(pid)
	}
	return err
}

// discardTimeout bounds the wait for a process that was killed: on cgroup v1 a frozen process does
// not end. In milliseconds.
const discardTimeout = 1000

// discard kills the process and reaps it, even during the caller's Hold: a zombie would delay the
// end of the container's PID namespace.
func discard(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	if pidfd, err := unix.PidfdOpen(pid, 0); err == nil {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, discardTimeout)
		_ = unix.Close(pidfd)
	}
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
}

func writePid(path string, pid int) error {
	if err := os.WriteFile(path, []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return fmt.Errorf("write PID file: %w", err)
	}
	return nil
}
