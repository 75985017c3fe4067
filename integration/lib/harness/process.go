// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// marker is an environment variable of the programs of a bench. Shims and CNI plugins inherit it;
// the leak check finds the processes of the bench by it.
const marker = "LITE_BENCH"

// Process is a program that the bench runs beside the tests. It can be stopped and started again;
// its log is appended to.
type Process struct {
	name  string
	bench *Bench

	mu   sync.Mutex // protects the fields below
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has exited
	err  error         // exit status of cmd; valid once done is closed
}

// NewProcess returns a program that is not running yet. The log is called after name, and errors
// use it.
func NewProcess(b *Bench, name string) *Process { return &Process{name: name, bench: b} }

// Run starts the program, which must not be running.
func (p *Process) Run(program string, args ...string) error {
	return p.run(func(int) error { return nil }, program, args...)
}

// RunHeld is [Process.Run] with a call of prepare, which gets the PID, before the program begins. A
// shell stops itself there and then becomes the program.
func (p *Process) RunHeld(prepare func(pid int) error, program string, args ...string) error {
	release := func(pid int) error {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil); err != nil {
			return fmt.Errorf("%s: wait for the shell: %w", p.name, err)
		}
		if !status.Stopped() {
			return fmt.Errorf("%s: the shell ended with wait status %#x", p.name, status)
		}
		return errors.Join(prepare(pid), syscall.Kill(pid, syscall.SIGCONT))
	}
	return p.run(release, "/bin/sh", append([]string{"-c", `kill -STOP $$; exec "$0" "$@"`, program}, args...)...)
}

// run starts a program and calls started with its PID before anything waits for its exit.
func (p *Process) run(started func(pid int) error, program string, args ...string) error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), marker+"="+p.bench.Root, "PATH="+p.bench.repo.path(p.bench.Options))
	cmd.Stdout, cmd.Stderr = log, log
	// A ^C at the terminal reaches only the test, which stops the program in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := started(cmd.Process.Pid); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	p.mu.Lock()
	p.cmd, p.done = cmd, make(chan struct{})
	done := p.done
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// Stop sends SIGTERM and waits until the program has exited. Stopping a stopped program is no
// error.
func (p *Process) Stop() error { return p.signal(syscall.SIGTERM) }

// Kill sends SIGKILL and waits until the program has exited.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL) }

// Running reports whether the program was started and has not exited.
func (p *Process) Running() bool {
	select {
	case <-p.Ended():
		return false
	default:
		return true
	}
}

// PID returns the PID of the program.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

func (p *Process) signal(s syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := syscall.Kill(p.PID(), s); err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, s, err)
	}
	select {
	case <-p.Ended():
		return nil
	case <-time.After(hangTimeout):
		return errors.Join(fmt.Errorf("%s: still running after %s", p.name, s), syscall.Kill(p.PID(), syscall.SIGKILL))
	}
}

// Ended returns a channel that is closed when the program has exited or was never started.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return p.done
}

// Exit returns the exit status of the program.
func (p *Process) Exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Process) log() string { return p.bench.Path(p.name + ".log") }

// Lines returns the number of lines of the log that contain a text.
func (p *Process) Lines(text string) int {
	log, _ := os.ReadFile(p.log())
	count := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			count++
		}
	}
	return count
}

// LogTail returns the last lines of the program's log.
func (p *Process) LogTail(lines int) string {
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// SaveLog copies the log of the last run to .tools/logs, for inspection after a failure.
func (p *Process) SaveLog() error {
	text, err := os.ReadFile(p.log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	name := filepath.Base(os.Args[0]) + "-" + p.bench.Options.Daemon
	if p.name != "daemon" {
		name += "-" + p.name
	}
	file := p.bench.repo.Tool("logs", name+".log")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}
