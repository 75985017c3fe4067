// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"syscall"

	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Exec starts another process in a container. The runtime reads the spec of the process, which has
// its environment, from a memory file. go-runc would write it to the directory for temporary files:
// with a full disk, every exec probe of every container would fail.
func (r *Runtime) Exec(ctx context.Context, id string, spec *specs.Process, p *Process) error {
	return r.call(ctx, "exec", func(cli *runc.Runc) error {
		file, err := newMemFile("oci-process")
		if err != nil {
			return err
		}
		defer file.Close()
		if err := json.NewEncoder(file).Encode(spec); err != nil {
			return fmt.Errorf("write process: %w", err)
		}
		args := []string{"exec", "--process", file.path(), "--detach", "--pid-file", p.PidFile}
		if p.Console != nil {
			args = append(args, "--console-socket", p.Console.socket.Path())
		}
		return run(command(ctx, cli, append(args, id)...), p.IO)
	})
}

// command returns a command with the global options that go-runc adds to its own commands.
func command(ctx context.Context, cli *runc.Runc, args ...string) *exec.Cmd {
	global := []string{"--root", cli.Root, "--log", cli.Log, "--log-format", string(cli.LogFormat)}
	if cli.SystemdCgroup {
		global = append(global, "--systemd-cgroup")
	}
	name := cli.Command
	if name == "" {
		name = runc.DefaultCommand
	}
	cmd := exec.CommandContext(ctx, name, append(global, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: cli.PdeathSignal}
	return cmd
}

// run runs a command with the streams of a process; streams is nil for a process with a terminal.
func run(cmd *exec.Cmd, streams Stdio) error {
	if streams != nil {
		streams.Set(cmd)
	}
	ended, err := runc.Monitor.StartLocked(cmd)
	if err != nil {
		return err
	}
	if ours, ok := streams.(runc.StartCloser); ok {
		_ = ours.CloseAfterStart() // the container has inherited its ends of the streams
	}
	status, err := runc.Monitor.Wait(cmd, ended)
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d", status)
	}
	return err
}
