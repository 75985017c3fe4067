// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/fault"
	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/containerio"
)

// Each step of Create panics in turn: Create returns Internal and rolls back.
func TestPanicInCreate(t *testing.T) {
	for _, step := range []string{"check spec", "unpack", "snapshot", "make spec", "create container"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			f.Fail(step, fault.ErrPanic)
			if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); !errdefs.IsInternal(err) {
				t.Fatalf("Create = %v, want Internal", err)
			}
			checkLeft(t, f, m)
			f.Fail(step, nil)
			mustCreate(t, m, "app")
		})
	}
}

// An undo of a failed create panics: the other steps are undone, and the name is free.
func TestPanicInTheRollbackOfCreate(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	f.Fail("make spec", errBroken)
	f.Fail("remove snapshot", fault.ErrPanic)
	if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); !errors.Is(err, errBroken) {
		t.Fatalf("Create = %v", err)
	}
	if diff := cmp.Diff([]string{"snapshot"}, f.Left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	f.Fail("make spec", nil)
	mustCreate(t, m, "app")
}

func TestPanicInStart(t *testing.T) {
	for _, step := range []string{"new task", "start task"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			id := mustCreate(t, m, "app")
			f.Fail(step, fault.ErrPanic)
			if err := m.Start(t.Context(), id); !errdefs.IsInternal(err) {
				t.Fatalf("Start = %v, want Internal", err)
			}
			if step == "new task" {
				f.Lose("task") // the fake has none yet
			}
			if r := record(t, m, id); r.Exit.Reason != ReasonStartError {
				t.Errorf("reason %q, want %s", r.Exit.Reason, ReasonStartError)
			}
			if err := m.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			checkLeft(t, f, m)
		})
	}
}

// All callers that wait for a removal that panics get its error; the next call completes the
// removal.
func TestPanicInRemove(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Fail("delete container", fault.ErrPanic)
	if err := m.Remove(t.Context(), id); !errdefs.IsInternal(err) {
		t.Errorf("Remove = %v, want Internal", err)
	}
	if err := m.RemoveAll(t.Context(), "pod1"); !errdefs.IsInternal(err) {
		t.Errorf("RemoveAll = %v, want Internal", err)
	}
	f.Fail("delete container", nil)
	if err := m.RemoveAll(t.Context(), "pod1"); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
}

// A panic for one container of a pod is joined with the errors of the others.
func TestPanicIsJoinedWithOtherErrors(t *testing.T) {
	members := []*Record{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	err := each(t.Context(), members, func(r *Record) error {
		switch r.ID {
		case "a":
			panic("boom")
		case "b":
			return errBroken
		}
		return nil
	})
	if !errdefs.IsInternal(err) || !errors.Is(err, errBroken) {
		t.Errorf("each = %v, want both errors", err)
	}
}

// The next Stop sends a signal again if its delivery panicked.
func TestPanicInStop(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Forget()
	f.Fail("kill 15", fault.ErrPanic)
	f.Fail("kill 9", fault.ErrPanic)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- m.Stop(ctx, id, time.Millisecond) }()
	f.Await(t, "kill 9")
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v", err)
	}
	f.Fail("kill 15", nil)
	f.Fail("kill 9", nil)
	f.Forget()
	if err := m.Stop(t.Context(), id, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	<-record(t, m, id).life.reaped
	if diff := cmp.Diff("kill 15\nkill 9\nsave exited\ndelete task", f.Trace()); diff != "" {
		t.Errorf("steps of the next stop (-want +got):\n%s", diff)
	}
}

// drained are streams whose Drain panics.
type drained struct{ containerio.Streams }

func (drained) Drain(context.Context) error { panic("drain") }

// badEvents panics at each event.
type badEvents struct{}

func (badEvents) PublishContainer(runtimeapi.ContainerEventType, *Record) { panic("event") }

// A panic while an exit is handled does not keep the exit from being recorded, nor the container
// from being removed.
func TestPanicWhileAnExitIsHandled(t *testing.T) {
	for name, arrange := range map[string]func(f *fakeNode, m *Manager, r *Record){
		"read the cgroup": func(_ *fakeNode, m *Manager, _ *Record) {
			m.OOMKilled = func(string) (bool, bool) { panic("cgroup") }
		},
		"drain the log":   func(_ *fakeNode, _ *Manager, r *Record) { r.life.streams = drained{r.life.streams} },
		"save the exit":   func(f *fakeNode, _ *Manager, _ *Record) { f.Fail("save exited", fault.ErrPanic) },
		"delete the task": func(f *fakeNode, _ *Manager, _ *Record) { f.Fail("delete task", fault.ErrPanic) },
		"publish events":  func(_ *fakeNode, m *Manager, _ *Record) { m.Events = badEvents{} },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			id := mustStart(t, m, "app")
			r := record(t, m, id)
			arrange(f, m, r)
			f.Task(id).Exit(7)
			<-r.life.ended
			checkExit(t, record(t, m, id), Exit{Code: 7, Reason: ReasonError})
			f.Fail("save exited", nil)
			<-r.life.reaped
			if err := m.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			checkLeft(t, f, m)
		})
	}
}

// awaitPanic waits until the count of panics differs from before.
func awaitPanic(t *testing.T, before int64) {
	t.Helper()
	for guard.Count() == before {
		if t.Context().Err() != nil {
			t.Fatal("nothing has panicked")
		}
		time.Sleep(time.Millisecond)
	}
}

// If the wait for an exit panics, the task is looked up until its exit is known.
func TestPanicInTheWaitForAnExit(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	m.watcher.exitEventTimeout = time.Millisecond
	id := mustStart(t, m, "app")
	r, task, before := record(t, m, id), f.Task(id), guard.Count()
	task.SetError(fault.ErrPanic)
	task.Exit(7) // the wait gets an error and asks for the state
	awaitPanic(t, before)
	task.SetError(nil)
	<-r.life.reaped
	checkExit(t, record(t, m, id), Exit{Code: 7, Reason: ReasonError})
}

// A container whose recovery panics is recovered later, as one whose shim does not answer.
func TestPanicInRecovery(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	m := newManager(t, f, dir)
	bad, good := mustStart(t, m, "bad"), mustStart(t, m, "good")
	m.Close()
	task := f.Task(bad)
	task.SetError(fault.ErrPanic)
	m = newManager(t, f, dir)
	m.watcher.exitEventTimeout = time.Millisecond
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if record(t, m, good).task() == nil {
		t.Error("the other container is not recovered")
	}
	r := record(t, m, bad)
	task.Exit(7)
	task.SetError(nil)
	<-r.life.reaped
	if got := record(t, m, bad).Exit.Code; got != 7 {
		t.Errorf("exit code %d", got)
	}
}

// An exec whose start panics returns Internal and is killed, as its process may be running.
func TestPanicInExec(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	for _, step := range []string{"exec", "wait exec", "start exec"} {
		f.Fail(step, fault.ErrPanic)
		if _, err := m.ExecSync(t.Context(), id, []string{"true"}, 0); !errdefs.IsInternal(err) {
			t.Errorf("%s: ExecSync = %v, want Internal", step, err)
		}
		f.Fail(step, nil)
		f.Lose("exec")
	}
	f.Fail("start exec", errBroken)
	if _, err := m.ExecSync(t.Context(), id, []string{"true"}, 0); !errors.Is(err, errBroken) {
		t.Errorf("the next ExecSync = %v", err)
	}
	if f.Has("exec") {
		t.Errorf("an exec is left:\n%s", f.Trace())
	}
}

// badClient is the client of an exec whose reads and writes panic.
type badClient struct{}

func (badClient) Read([]byte) (int, error)  { panic("read") }
func (badClient) Write([]byte) (int, error) { panic("write") }

// Goroutines of containerd's client read and write the streams of an exec.
func TestPanicInTheStreamsOfAnExec(t *testing.T) {
	if _, err := newTraffic().writer(badClient{}).Write([]byte("a")); !errdefs.IsInternal(err) {
		t.Errorf("Write = %v, want Internal", err)
	}
	ended := make(chan struct{})
	in := &eofReader{Reader: badClient{}}
	in.onEOF(func() { close(ended); panic("close stdin") })
	if _, err := io.ReadAll(in); !errdefs.IsInternal(err) {
		t.Errorf("Read = %v, want Internal", err)
	}
	<-ended
}

// waiting are streams whose Attach waits for the end of its context.
type waiting struct{ containerio.Streams }

func (waiting) Attach(ctx context.Context, _ containerio.AttachOptions) error {
	<-ctx.Done()
	return ctx.Err()
}

// Resize of a fake task is nil and panics: the client stays attached.
func TestPanicInResize(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	r := record(t, m, id)
	r.life.streams = waiting{r.life.streams}
	sizes, attached, before := make(chan Size), make(chan error), guard.Count()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { attached <- m.Attach(ctx, id, AttachOptions{Stdout: io.Discard, Resize: sizes}) }()
	sizes <- Size{80, 25}
	awaitPanic(t, before)
	cancel()
	if err := <-attached; !errors.Is(err, context.Canceled) {
		t.Errorf("Attach = %v, want context.Canceled", err)
	}
}
