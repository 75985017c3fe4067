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
)

// marker is set in the environment of the bench's programs, which shims and CNI plugins inherit:
// the leak check knows a process of the bench by it.
const marker = "LITE_BENCH"

// Process is a program that the bench runs next to the tests. It can be stopped and run again; its
// log goes on.
type Process struct {
	name  string
	bench *Bench

	mu   sync.Mutex // protects the fields below
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd ended
	err  error         // how cmd ended; valid when done is closed
}

// NewProcess returns a program that does not run yet; name is that of its log, and what errors call
// it.
func NewProcess(b *Bench, name string) *Process { return &Process{name: name, bench: b} }

// Run starts the program, which must not be running.
func (p *Process) Run(program string, args ...string) error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), marker+"="+p.bench.Root, "PATH="+p.bench.path())
	cmd.Stdout, cmd.Stderr = log, log
	// A ^C at the terminal goes to the test, which stops the program in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
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

// Stop asks the program to end and waits until it has. Stopping a stopped program is no error.
func (p *Process) Stop() error { return p.signal(syscall.SIGTERM) }

// Kill ends the program as kill -9 does, and waits until it is gone.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL) }

// Running says whether the program was started and has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended():
		return false
	default:
		return true
	}
}

// PID is the process id of the program.
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
	case <-time.After(hang):
		return errors.Join(fmt.Errorf("%s: it does not end on %s", p.name, s), syscall.Kill(p.PID(), syscall.SIGKILL))
	}
}

// Ended is closed when the program has ended, or was never started.
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

// Exit says how the program ended.
func (p *Process) Exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Process) log() string { return p.bench.Path(p.name + ".log") }

// LogTail returns the last lines of the program's log.
func (p *Process) LogTail(lines int) string {
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// SaveLog keeps the log of the last run in .tools/logs, where it is looked for after a failure.
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

// path is the PATH of the bench's programs: the daemon finds runc and both shims there.
func (b *Bench) path() string {
	return b.repo.Tool("bin") + ":" + b.repo.Bin("") + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin"
}
