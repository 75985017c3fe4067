// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// startSleep starts a process that ends with the test.
func startSleep(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestSacrificeBefore(t *testing.T) {
	pid := startSleep(t).Process.Pid
	if err := SacrificeBefore(pid, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	read := func(pid int) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	if own := read(os.Getpid()); own != "0" {
		t.Skipf("score of the test is %s, not 0", own)
	}
	if got := read(pid); got != "1" {
		t.Errorf("score = %s, want 1", got)
	}
}

// The exit status of a process that has ended can still be waited for.
func TestAwaitEndLeavesTheZombie(t *testing.T) {
	cmd := exec.Command("sh", "-c", "exit 3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := AwaitEnd(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("Wait = %v, want exit code 3", err)
	}
}
