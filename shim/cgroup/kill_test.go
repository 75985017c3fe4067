// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// realGroup creates a cgroup on the host, or skips the test where that is not possible.
func realGroup(t *testing.T, name string) *Group {
	t.Helper()
	g, err := Plan(fmt.Sprintf("/lite-kill-test-%d/%s", os.Getpid(), name))
	if path, v1 := g.Paths["freezer"]; err == nil && v1 {
		g.Paths = map[string]string{"freezer": path} // joining a cpuset needs CPUs
	}
	if err == nil {
		err = g.Make()
	}
	if err != nil {
		t.Skipf("cannot create cgroups: %v", err)
	}
	t.Cleanup(func() {
		g.Remove()
		for _, dir := range g.dirs() {
			_ = unix.Rmdir(filepath.Dir(dir))
		}
	})
	return g
}

// run starts a shell in the cgroup and returns its output, which ends when the last process exits.
func run(t *testing.T, g *Group, attr *syscall.SysProcAttr, script string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	for _, dir := range g.dirs() { // the shell joins the cgroup itself
		script = fmt.Sprintf("echo 0 > %s/cgroup.procs || exit 1\n", dir) + script
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr, cmd.Stderr = attr, os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Kill(false)
		_ = cmd.Wait()
	})
	return cmd, bufio.NewReader(out)
}

func line(t *testing.T, from *bufio.Reader) string {
	t.Helper()
	text, err := from.ReadString('\n')
	if err != nil {
		t.Fatalf("output ended after %q: %v", text, err)
	}
	return strings.TrimSpace(text)
}

// TestSignalKeepsGroupPaused signals a paused cgroup: its processes get the signal when they
// resume, and not before.
func TestSignalKeepsGroupPaused(t *testing.T) {
	g := realGroup(t, "paused")
	_, out := run(t, g, nil, `trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.01; done`)
	line(t, out)
	if g.freeze(); !g.frozen() {
		t.Skip("no freezer")
	}
	if err := g.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !g.frozen() {
		t.Error("the signal thawed the cgroup")
	}
	g.Thaw()
	if got := line(t, out); got != "term" {
		t.Errorf("after the thaw: %q, want term", got)
	}
}

// TestSignalReachesAll signals more processes than Signal opens pidfds for at a time.
func TestSignalReachesAll(t *testing.T) {
	g := realGroup(t, "many")
	const processes = batchSize + 10
	_, out := run(t, g, nil, fmt.Sprintf(`
		i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done
		trap : TERM; echo ready; while ! wait; do :; done; echo alone`, processes))
	line(t, out)
	if err := g.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := line(t, out); got != "alone" {
		t.Errorf("after the signal: %q, want the shell alone", got)
	}
}

// TestKillOfAForkingCgroup kills processes that keep forking.
func TestKillOfAForkingCgroup(t *testing.T) {
	g := realGroup(t, "forks")
	_, out := run(t, g, nil, `
		for i in 1 2 3; do (while :; do sleep 1000 & sleep 0.001; done) & done
		echo ready; wait`)
	line(t, out)
	if err := g.killEach(false); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil { // EOF after the last process
		t.Error(err)
	}
}

// TestKillThawsDescendants kills a PID namespace in which a nested container is paused.
func TestKillThawsDescendants(t *testing.T) {
	g, inner := realGroup(t, "outer"), realGroup(t, "outer/inner")
	cmd, out := run(t, g, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, `sleep 1000 & echo ready; wait`)
	line(t, out)
	pids, err := g.Pids()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if pid == cmd.Process.Pid {
			continue
		}
		for _, dir := range inner.dirs() {
			if err := write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if inner.freeze(); !inner.frozen() {
		t.Skip("no freezer")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(true); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
}

// TestKillDoesNotFreeze counts the writes to the freezer of a v1 cgroup whose processes the kernel
// is already killing: one thaw and nothing else. The cgroup is made of plain files, so the process
// stays listed in it.
func TestKillDoesNotFreeze(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{
		"freezer/pod/web/cgroup.procs":  strconv.Itoa(cmd.Process.Pid),
		"freezer/pod/web/freezer.state": "",
	})
	writes := countWrites(t, filepath.Join(root, "freezer/pod/web/freezer.state"))
	if err := legacyGroup(root).Kill(true); err != nil {
		t.Fatal(err)
	}
	if n, state := writes(), read(t, root, "freezer/pod/web/freezer.state"); n != 1 || state != "THAWED" {
		t.Errorf("%d writes to the freezer, the last %q, want a thaw", n, state)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("process was not killed")
	}
}

// countWrites returns a function that returns the number of writes to a file since this call.
func countWrites(t *testing.T, path string) func() int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_CLOSE_WRITE)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() int {
		n := 0
		for event := make([]byte, unix.SizeofInotifyEvent); ; {
			if _, err := unix.Read(fd, event); err != nil {
				return n
			}
			if binary.NativeEndian.Uint32(event[4:])&unix.IN_CLOSE_WRITE != 0 {
				n++
			}
		}
	}
}
