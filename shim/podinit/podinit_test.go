// SPDX-License-Identifier: Apache-2.0

package podinit

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExitsOnSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
		// This Notify keeps the signal from killing the test before Run has called Notify.
		delivered := make(chan os.Signal, 1)
		signal.Notify(delivered, sig)
		code := make(chan int, 1)
		go func() { code <- Run() }()
		for len(code) == 0 {
			if err := unix.Kill(unix.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
			<-delivered
		}
		signal.Stop(delivered)
		if got := <-code; got != 0 {
			t.Errorf("%v: exit code %d, want 0", sig, got)
		}
	}
}

func TestReapsOrphans(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	reapAll()
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("zombie is still there: %v", err)
	}
}
