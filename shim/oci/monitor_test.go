// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"testing"
)

func TestMonitor(t *testing.T) {
	start := map[string]func(*exec.Cmd) (int, error){
		"unlocked": func(cmd *exec.Cmd) (int, error) {
			ended, err := monitor{}.Start(cmd)
			if err != nil {
				return 0, err
			}
			return monitor{}.Wait(cmd, ended)
		},
		"locked": func(cmd *exec.Cmd) (int, error) {
			ended, err := monitor{}.StartLocked(cmd)
			if err != nil {
				return 0, err
			}
			return monitor{}.Wait(cmd, ended)
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
			t.Errorf("%s: command that is called off: %v", name, err)
		}
	}
}
