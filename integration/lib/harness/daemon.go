// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Daemon is the program under test. It can be killed and restarted on the same root.
type Daemon struct {
	Socket string
	Config string // path of config.toml

	*Process
	bench   *Bench
	program program
}

func newDaemon(b *Bench) *Daemon {
	return &Daemon{
		Socket:  b.Path("containerd.sock"),
		Config:  b.Path("config.toml"),
		Process: NewProcess(b, "daemon"),
		bench:   b,
		program: newProgram(b),
	}
}

// Launch starts the daemon without waiting for it.
func (d *Daemon) Launch() error {
	for path, text := range d.program.configFiles() {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	command := append(d.strace(), d.program.command()...)
	if !d.bench.Meter.Active() {
		return d.Run(command[0], command[1:]...)
	}
	return d.RunHeld(d.bench.Meter.Attach, command[0], command[1:]...)
}

// strace returns the strace command that the daemon runs under, or nil if no option needs strace.
// The daemon stays a child of this process (-D), and other system calls are not slowed down
// (--seccomp-bpf).
func (d *Daemon) strace() []string {
	command := []string{"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-y", "-s", "300", "-e", "signal=none"}
	switch o := d.bench.Options; {
	case o.Measure.Trace:
		return append(command, "-e", "trace=execve,fsync,fdatasync", "-o", d.TraceFile(), "--")
	case o.Inject != "":
		call, _, _ := strings.Cut(o.Inject, ":")
		return append(command, "-e", "trace="+call, "-e", "inject="+o.Inject, "-o", os.DevNull, "--")
	}
	return nil
}

// Start starts the daemon and returns when its CRI answers Version and Status.
func (d *Daemon) Start(ctx context.Context) error {
	if err := d.Launch(); err != nil {
		return err
	}
	if err := d.ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("daemon: %w", err), errors.New(d.LogTail(40)), d.Stop())
	}
	return nil
}

// ready polls until the CRI answers. If the daemon exits before, ready returns an error at once.
func (d *Daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hangTimeout)
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
		case <-d.Ended():
			return fmt.Errorf("exited before it was ready: %w", d.Exit())
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Restart stops the daemon and starts it again.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Stop(); err != nil {
		return err
	}
	return d.Start(ctx)
}

// Swap stops the daemon and starts another one in its place: [Lite] or [Stock]. bin is
// Options.Bin.
func (d *Daemon) Swap(ctx context.Context, daemon, bin string) error {
	if err := d.Stop(); err != nil {
		return err
	}
	d.bench.Options.Daemon, d.bench.Bin = daemon, bin
	return d.Start(ctx)
}

// races returns the reports of the race detector that are in the log.
func (d *Daemon) races() error {
	text, err := os.ReadFile(d.log())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const ruler = "==================\n"
	var found []error
	for part := range strings.SplitSeq(string(text), ruler) {
		if strings.HasPrefix(part, "WARNING: DATA RACE") {
			found = append(found, errors.New(part))
		}
	}
	return errors.Join(found...)
}

// Lite returns a command of containerd-lite with the config of the daemon.
func (d *Daemon) Lite(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, d.bench.repo.Bin("containerd-lite"), append([]string{"--config", d.Config}, args...)...)
}

// TraceFile returns the path of the file that strace writes with [Measure.Trace].
func (d *Daemon) TraceFile() string { return d.bench.Path("trace") }
