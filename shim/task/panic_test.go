// SPDX-License-Identifier: Apache-2.0

package task

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// logBuffer is a log buffer that is safe for concurrent use.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// panics returns the lines that log a panic.
func (b *logBuffer) panics() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, "stack=") {
			lines = append(lines, line)
		}
	}
	return lines
}

// wantPanic returns a check that fails the test unless at least one panic was caught since, and
// each is logged with the container's id.
func wantPanic(t *testing.T, id string) (check func()) {
	t.Helper()
	out, before, count := &logBuffer{}, log.L.Logger.Out, guard.Count()
	log.L.Logger.SetOutput(out)
	t.Cleanup(func() { log.L.Logger.SetOutput(before) })
	return func() {
		t.Helper()
		lines := out.panics()
		if n := guard.Count() - count; n == 0 || int(n) != len(lines) {
			t.Errorf("%d panics counted and %d logged, want equal numbers above 0", n, len(lines))
		}
		for _, line := range lines {
			if !strings.Contains(line, "container="+id) {
				t.Errorf("logged without the container: %s", line)
			}
		}
	}
}

func (s *shim) container(id string) *container {
	s.t.Helper()
	c, err := s.service.tasks.get(id)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// wantUsable fails the test unless the container is running and accepts an exec.
func (s *shim) wantUsable(id string) {
	s.t.Helper()
	if got := s.status(id, ""); got != apitask.Status_RUNNING {
		s.t.Errorf("status of %s = %v, want RUNNING", id, got)
	}
	s.runExec(s.exec(id, "after", "true"))
	if _, err := s.client.Wait(s.t.Context(), &taskapi.WaitRequest{ID: id, ExecID: "after"}); err != nil {
		s.t.Error(err)
	}
}

// TestPanicInInitExit makes the steps after the exit of an init panic. The exit is still recorded
// and published with its status, the task can be deleted, and the other container of the shim runs
// on.
func TestPanicInInitExit(t *testing.T) {
	for name, sabotage := range map[string]func(*container){
		"streams":       func(c *container) { c.init.streams = nil },
		"out of memory": func(c *container) { c.resources.oom = &cgroup.OOMWatch{} },
		"an exec":       func(c *container) { c.execs["broken"] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShim(t)
			s.run(s.request("other", true, "sleep", "1000"))
			r := s.request("web", false, "sleep", "1000")
			s.run(r)
			check := wantPanic(t, "web")
			c := s.container("web")
			c.mu.Lock()
			c.resources.mu.Lock()
			streams := c.init.streams
			sabotage(c)
			c.resources.mu.Unlock()
			c.mu.Unlock()
			if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGKILL)}); err != nil {
				t.Fatal(err)
			}
			waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"})
			if err != nil || waited.ExitStatus != 137 {
				t.Errorf("Wait = %v, %v, want status 137", waited, err)
			}
			s.events.until(t, "/tasks/exit web 137")
			if exit := readExit(t, r.Bundle); exit.Status != 137 {
				t.Errorf("exit.json = %+v, want status 137", exit)
			}
			check()
			s.wantUsable("other")
			c.mu.Lock()
			c.init.streams = streams
			delete(c.execs, "broken")
			c.mu.Unlock()
			if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPanicInExecExit checks that the exit of the exec is published, and that the exit of the init,
// which waits for the exec, is not blocked.
func TestPanicInExecExit(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", false, "sleep", "1000"))
	s.runExec(s.exec("web", "probe", "sleep", "1000"))
	check := wantPanic(t, "web")
	c := s.container("web")
	c.mu.Lock()
	probe := c.execs["probe"]
	streams := probe.streams
	probe.streams = nil
	c.mu.Unlock()
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", ExecID: "probe", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	s.events.until(t, "/tasks/exit probe 137")
	check()
	s.wantUsable("web")
	c.mu.Lock()
	probe.streams = streams
	c.mu.Unlock()
}

// TestPanicInStream checks that only the process whose stream failed is killed.
func TestPanicInStream(t *testing.T) {
	s := newShim(t)
	s.run(s.request("other", true, "sleep", "1000"))
	s.run(s.request("web", true, "sleep", "1000"))
	s.runExec(s.exec("web", "probe", "sleep", "1000"))
	c := s.container("web")
	c.execs["probe"].owner().Broken()
	s.events.until(t, "/tasks/exit probe 137")
	s.wantUsable("web")
	c.owner().Broken()
	s.events.until(t, "/tasks/exit web 137")
	s.wantUsable("other")
}

// TestStreamFailsBeforeStart fails a stream before there is a process to kill.
func TestStreamFailsBeforeStart(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	started, open := s.beginExec(s.exec("web", "probe", "sleep", "1000"))
	c := s.container("web")
	e, err := c.exec("probe")
	if err != nil {
		t.Fatal(err)
	}
	e.owner().Broken()
	open()
	if err := <-started; err != nil {
		t.Error(err)
	}
	s.events.until(t, "/tasks/exit probe 137")
}

// TestPanicInExecStart checks that the exec has failed and that the exit of the container does not
// wait for it.
func TestPanicInExecStart(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	if _, err := s.client.Exec(t.Context(), s.exec("web", "probe", "true")); err != nil {
		t.Fatal(err)
	}
	check := wantPanic(t, "web")
	probe := s.container("web").execs["probe"]
	streams := probe.streams
	probe.streams = nil
	_, err := s.client.Start(t.Context(), &taskapi.StartRequest{ID: "web", ExecID: "probe"})
	wantClass(t, err, errdefs.IsInternal, "internal")
	check()
	probe.streams = streams
	if got := s.status("web", "probe"); got != apitask.Status_STOPPED {
		t.Errorf("status = %v, want STOPPED", got)
	}
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	s.events.until(t, "/tasks/exit web 137")
}

// TestPanicInCreate checks that the container's id is free afterwards.
func TestPanicInCreate(t *testing.T) {
	s := newShim(t)
	check := wantPanic(t, "web")
	r := s.request("web", true, "true")
	r.Rootfs = []*types.Mount{nil}
	_, err := s.service.Create(t.Context(), r)
	wantClass(t, errgrpc.ToGRPC(err), errdefs.IsInternal, "internal")
	check()
	s.create(s.request("web", true, "true"))
}

// TestPanicInDelete checks that the caller gets the error, and that the next caller gets the result
// of the deletion.
func TestPanicInDelete(t *testing.T) {
	s := newShim(t)
	s.run(s.request("other", true, "sleep", "1000"))
	s.runToEnd("web", "sh", "-c", "exit 7")
	check := wantPanic(t, "web")
	s.service.host.Deleted = func(func() []bundle.Dir) { panic("boom") }
	_, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	wantClass(t, err, errdefs.IsInternal, "internal")
	check()
	s.service.host.Deleted = nil
	deleted, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	if err != nil || deleted.ExitStatus != 7 {
		t.Errorf("second Delete = %v, %v, want status 7", deleted, err)
	}
	s.wantUsable("other")
}

// TestPanicInHolderThread checks that park gets the error.
func TestPanicInHolderThread(t *testing.T) {
	h := &holder{namespaces: make([]specs.LinuxNamespace, 1), fatal: make(chan unix.Signal, 1), end: reap.NewEnd()}
	parked := make(chan error, 1)
	h.startThread([]*os.File{{}}, parked)
	if err := <-parked; !errdefs.IsInternal(err) {
		t.Errorf("thread: %v, want internal", err)
	}
}

// TestPanicInTimer checks that the registry stays usable.
func TestPanicInTimer(t *testing.T) {
	done, retired := make(chan struct{}), make(chan struct{})
	g := newRegistry(shimoption.Pod, func() { defer close(retired); panic("boom") })
	g.startTimer(0, func() { defer close(done); panic("boom") })
	<-done
	if err := g.expect("web"); err != nil {
		t.Error(err)
	}
	g.leave("web") // calls retire
	<-retired
	if err := g.expect("web"); !errdefs.IsUnavailable(err) {
		t.Errorf("after the retirement: %v, want unavailable", err)
	}
}
