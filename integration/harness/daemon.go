// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
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

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// marker is set in the daemon's environment, which shims and CNI plugins inherit: the leak check knows a
// process of the bench by it.
const marker = "LITE_BENCH"

// Daemon is the program under test. It can be killed and started again on the same root.
type Daemon struct {
	Socket string
	Config string // path of config.toml

	bench *Bench
	mu    sync.Mutex // protects the fields below
	cmd   *exec.Cmd
	done  chan struct{} // closed when cmd ended
	err   error         // how cmd ended; valid when done is closed
}

func newDaemon(b *Bench) *Daemon {
	return &Daemon{bench: b, Socket: b.Path("containerd.sock"), Config: b.Path("config.toml")}
}

// Start starts the daemon and returns when its CRI answers Version and says that it is ready.
func (d *Daemon) Start(ctx context.Context) error {
	if err := os.WriteFile(d.Config, []byte(d.bench.configTOML()), 0o600); err != nil {
		return err
	}
	if err := d.run(); err != nil {
		return err
	}
	if err := d.ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("daemon: %w", err), errors.New(d.LogTail(40)), d.Stop())
	}
	return nil
}

func (d *Daemon) run() error {
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.bench.program(), "--config", d.Config)
	cmd.Env = append(os.Environ(), marker+"="+d.bench.Root, "PATH="+d.bench.path())
	cmd.Stdout, cmd.Stderr = log, log
	// A ^C at the terminal goes to the test, which stops the daemon in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.mu.Lock()
	d.cmd, d.done = cmd, make(chan struct{})
	done := d.done
	d.mu.Unlock()
	go func() {
		err := cmd.Wait()
		d.mu.Lock()
		d.err = err
		d.mu.Unlock()
		close(done)
	}()
	return nil
}

// ready asks until the CRI answers; a daemon that ends before it is ready is an error at once.
func (d *Daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	client, err := d.bench.CRI()
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		_, err := client.Version(ctx, &runtimeapi.VersionRequest{})
		if err == nil {
			if _, err = client.Status(ctx, &runtimeapi.StatusRequest{}); err == nil {
				return nil
			}
		}
		select {
		case <-d.ended():
			return fmt.Errorf("ended before it was ready: %w", d.exit())
		case <-ctx.Done():
			return fmt.Errorf("is not ready: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop asks the daemon to end and waits until it has. Stopping a stopped daemon is no error.
func (d *Daemon) Stop() error { return d.signal(syscall.SIGTERM) }

// Kill ends the daemon as kill -9 does, and waits until it is gone.
func (d *Daemon) Kill() error { return d.signal(syscall.SIGKILL) }

// Restart stops the daemon and starts it again.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Stop(); err != nil {
		return err
	}
	return d.Start(ctx)
}

// Running says whether the daemon was started and has not ended.
func (d *Daemon) Running() bool {
	select {
	case <-d.ended():
		return false
	default:
		return true
	}
}

// PID is the process id of the daemon.
func (d *Daemon) PID() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cmd.Process.Pid
}

func (d *Daemon) signal(s syscall.Signal) error {
	if !d.Running() {
		return nil
	}
	if err := syscall.Kill(d.PID(), s); err != nil {
		return fmt.Errorf("daemon: %s: %w", s, err)
	}
	select {
	case <-d.ended():
		return nil
	case <-time.After(hang):
		return errors.Join(fmt.Errorf("daemon: it does not end on %s", s), syscall.Kill(d.PID(), syscall.SIGKILL))
	}
}

func (d *Daemon) ended() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return d.done
}

func (d *Daemon) exit() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *Daemon) log() string { return d.bench.Path("daemon.log") }

// LogTail returns the last lines of the daemon's log.
func (d *Daemon) LogTail(lines int) string {
	text, err := os.ReadFile(d.log())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// saveLog keeps the log of the last run in .tools/logs, where it is looked for after a failure.
func (d *Daemon) saveLog() error {
	text, err := os.ReadFile(d.log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file := d.bench.repo.Tool("logs", filepath.Base(os.Args[0])+"-"+d.bench.Options.Daemon+".log")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

func (b *Bench) program() string {
	if b.Options.Daemon == Stock {
		return b.repo.Tool("bin", "containerd")
	}
	return b.repo.Bin("containerd-lite")
}

// path is the PATH of the daemon: it finds runc and both shims there.
func (b *Bench) path() string {
	return b.repo.Tool("bin") + ":" + b.repo.Bin("") + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin"
}
