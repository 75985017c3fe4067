// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"testing"

	runc "github.com/containerd/go-runc"

	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// TestPanicWhileWaiting checks that a panic in the wait kills the command and returns an unknown
// status.
func TestPanicWhileWaiting(t *testing.T) {
	m := monitor{func(*exec.Cmd) runc.Exit { panic("boom") }}
	for name, start := range map[string]func(*exec.Cmd) (chan runc.Exit, error){"unlocked": m.Start, "locked": m.StartLocked} {
		cmd := exec.Command("sleep", "1000")
		ended, err := start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if status, err := m.Wait(cmd, ended); err != nil || status != reap.StatusUnknown {
			t.Errorf("%s: status %d, %v, want unknown", name, status, err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%s: the command was not killed", name)
		}
	}
}

func TestMonitor(t *testing.T) {
	start := map[string]func(*exec.Cmd) (int, error){
		"unlocked": func(cmd *exec.Cmd) (int, error) {
			ended, err := monitor{await}.Start(cmd)
			if err != nil {
				return 0, err
			}
			return monitor{await}.Wait(cmd, ended)
		},
		"locked": func(cmd *exec.Cmd) (int, error) {
			ended, err := monitor{await}.StartLocked(cmd)
			if err != nil {
				return 0, err
			}
			return monitor{await}.Wait(cmd, ended)
		},
	}
	for name, run := range start {
		for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 255} {
			if got, err := run(exec.Command("sh", "-c", script)); err != nil || got != want {
				t.Errorf("%s: %s: status %d, %v, want %d", name, script, got, err, want)
			}
		}
		if _, err := run(exec.Command("/does/not/exist")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: program that does not exist: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := run(exec.CommandContext(ctx, "sleep", "1000")); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: command with a canceled context: %v", name, err)
		}
	}
}
