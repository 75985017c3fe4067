// SPDX-License-Identifier: Apache-2.0

// Package log tests the path of a container's output into its log: every line must be there exactly
// once and complete, even if the log is rotated, the disk is full, the daemon or the shim is
// killed, or attached clients do not read.
package log

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func TestLog(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox)}
	b.NoLeaks(t, "10000 rotations", func(t *testing.T) { rotate(t, b) })
	b.NoLeaks(t, "attached clients that do not read", func(t *testing.T) { lazyClients(t, b) })
	b.NoLeaks(t, "full disk", func(t *testing.T) { fullDisk(t, b) })
	b.NoLeaks(t, "no daemon", func(t *testing.T) { noDaemon(t, b) })
	b.NoLeaks(t, "shim killed", func(t *testing.T) { shimKilled(t, b) })
}

type bench struct{ harness.Session }

// writer is a container that writes, and the path of its log.
type writer struct{ pod, container, log string }

// start runs a container with a shell script. dir is the directory of the pod's logs; "" means the
// default.
func (b bench) start(t *testing.T, name, dir, script string) writer {
	t.Helper()
	config := b.PodConfig(name)
	if dir != "" {
		config.LogDirectory = dir
	}
	pod := b.Pod(t, config)
	c := harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", script)
	id, err := b.Run(t.Context(), pod, config, c)
	if err != nil {
		t.Fatal(err)
	}
	return writer{pod, id, filepath.Join(config.LogDirectory, c.LogPath)}
}

func (b bench) awaitExit(t *testing.T, w writer) *runtimeapi.ContainerStatus {
	t.Helper()
	status, err := b.AwaitState(t.Context(), w.container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// contents returns the contents of the records of a log file. A torn record fails the test.
func contents(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		fields := bytes.SplitN(scanner.Bytes(), []byte{' '}, 4)
		if len(fields) != 4 || string(fields[2]) != "F" {
			t.Fatalf("%s: record %q", file, scanner.Bytes())
		}
		all = append(all, string(fields[3]))
	}
	return all
}

// wantCount fails the test unless the files have the lines 1, 2, 3 … n, in this order.
func wantCount(t *testing.T, n int, files ...string) {
	t.Helper()
	next := 1
	for _, file := range files {
		for _, line := range contents(t, file) {
			if line != fmt.Sprint(next) {
				t.Fatalf("%s: line %q, want %d", file, line, next)
			}
			next++
		}
	}
	if next != n+1 {
		t.Errorf("%d lines, want %d", next-1, n)
	}
}

// hasLine returns an error unless a log has a line.
func hasLine(file, line string) error {
	data, err := os.ReadFile(file)
	if err == nil && !bytes.Contains(data, []byte(" F "+line+"\n")) {
		err = fmt.Errorf("no line %q in %s", line, file)
	}
	return err
}

// rotate renames and reopens the log as the kubelet does, as often as possible while a container
// counts.
func rotate(t *testing.T, b bench) {
	const rotations = 10000
	w := b.start(t, "rotate", "", "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i; done; i=$((i+1)); echo $i")
	var files []string
	for i := range rotations {
		moved := fmt.Sprintf("%s.%05d", w.log, i)
		if err := os.Rename(w.log, moved); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ReopenContainerLog(t.Context(), &runtimeapi.ReopenContainerLogRequest{ContainerId: w.container}); err != nil {
			t.Fatal(err)
		}
		files = append(files, moved)
	}
	b.exec(t, w, "touch", "/stop")
	b.awaitExit(t, w)
	files = append(files, w.log)
	n := 0
	for _, file := range files {
		n += len(contents(t, file))
	}
	wantCount(t, n, files...)
	if n < rotations/10 {
		t.Errorf("the container wrote only %d lines during %d rotations: the test proves nothing", n, rotations)
	}
}

func (b bench) exec(t *testing.T, w writer, command ...string) {
	t.Helper()
	answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: w.container, Cmd: command})
	if err != nil || answer.ExitCode != 0 {
		t.Fatalf("%q: %v, %v", command, answer, err)
	}
}

// lazyClients attaches clients that never read: they must not block the container.
func lazyClients(t *testing.T, b bench) {
	const lines = 200000
	w := b.start(t, "lazy", "", fmt.Sprintf("while [ ! -e /go ]; do sleep 0.05; done; seq %d", lines))
	for range 3 {
		client := b.Crictl(t.Context(), "attach", w.container)
		stdout, err := client.StdoutPipe() // never read
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			stdout.Close()
			_ = client.Process.Kill()
			_ = client.Wait()
		})
	}
	b.exec(t, w, "touch", "/go")
	b.awaitExit(t, w)
	wantCount(t, lines, w.log)
}

// fullDisk fills the disk of the log: the container must continue, and the log must record how much
// it lacks.
func fullDisk(t *testing.T, b bench) {
	dir := b.Path("small")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	const lines = 100000 // more than fits on the disk
	w := b.start(t, "full", filepath.Join(dir, "logs"),
		fmt.Sprintf("seq %d; touch /full; while [ ! -e /go ]; do sleep 0.05; done; echo room again", lines))
	if err := harness.Await(t.Context(), func() error {
		answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: w.container, Cmd: []string{"test", "-e", "/full"}})
		if err == nil && answer.ExitCode != 0 {
			err = fmt.Errorf("the full disk blocks the container")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.exec(t, w, "touch", "/go")
	b.awaitExit(t, w)
	if err := hasLine(w.log, "room again"); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.Count(string(log), " stdout F ") - 1
	marker := fmt.Sprintf("containerd-lite: %d records of this log are lost", lines-whole)
	// The last record may be torn.
	torn := fmt.Sprintf("containerd-lite: %d records of this log are lost", lines-whole+1)
	if !strings.Contains(string(log), marker) && !strings.Contains(string(log), torn) {
		t.Errorf("the log has %d of %d lines and no %q: …%s", whole, lines, marker, log[max(0, len(log)-300):])
	}
}

// noDaemon lets a container write more than a pipe holds while no daemon runs.
func noDaemon(t *testing.T, b bench) {
	if b.Handler != harness.HandlerLite {
		t.Skip("only the lite shim writes the log by itself")
	}
	const lines = 1000000
	w := b.start(t, "alone", "", fmt.Sprintf("while [ ! -e /go ]; do sleep 0.05; done; seq %d; sleep 1000", lines))
	pid := b.pid(t, w)
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/go", pid), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error { return hasLine(w.log, fmt.Sprint(lines)) }); err != nil {
		t.Fatal(err)
	}
	wantCount(t, lines, w.log)
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: w.container})
	if err != nil || status.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after the restart: %v, %v", status, err)
	}
	wantCount(t, lines, w.log)
}

// pid returns the PID of the container's process on the host.
func (b bench) pid(t *testing.T, w writer) int {
	t.Helper()
	client, err := b.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	container, err := client.LoadContainer(t.Context(), w.container)
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return int(task.Pid())
}

// shimKilled kills the shim of a container that writes: the records in the log must be complete,
// and the exit must be reported.
func shimKilled(t *testing.T, b bench) {
	before := b.shims(t)
	w := b.start(t, "orphan", "", "i=0; while true; do i=$((i+1)); echo $i; done")
	if err := harness.Await(t.Context(), func() error { return hasLine(w.log, "1000") }); err != nil {
		t.Fatal(err)
	}
	for _, pid := range b.shims(t) {
		if !slices.Contains(before, pid) {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status := b.awaitExit(t, w); status.ExitCode == 0 {
		t.Errorf("exit code %d, reason %s", status.ExitCode, status.Reason)
	}
	lines := contents(t, w.log)
	wantCount(t, len(lines), w.log)
}

func (b bench) shims(t *testing.T) []int {
	t.Helper()
	pids, err := b.Processes("containerd-shim")
	if err != nil {
		t.Fatal(err)
	}
	return pids
}
