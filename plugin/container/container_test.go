// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/runtime/runtimetest"
)

func mustCreate(t *testing.T, m *Manager, name string) string {
	t.Helper()
	id, err := m.Create(t.Context(), "pod1", containerConfig(name))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustStart(t *testing.T, m *Manager, name string) string {
	t.Helper()
	id := mustCreate(t, m, name)
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func record(t *testing.T, m *Manager, id string) *Record {
	t.Helper()
	r, err := m.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func checkExit(t *testing.T, r *Record, want Exit) {
	t.Helper()
	if diff := cmp.Diff(want, r.Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
}

func checkLeft(t *testing.T, f *fakeNode, m *Manager) {
	t.Helper()
	if left := f.Left(); len(left) != 0 {
		t.Errorf("left: %v\n%s", left, f.Trace())
	}
	ids, _ := m.Dirs.ContainerIDs()
	for _, id := range ids {
		t.Errorf("left: directories of %s", id)
	}
}

func TestContainerLifecycle(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	want := "check spec\nunpack\nsnapshot\nmake spec\ncreate container"
	if diff := cmp.Diff(want, f.Trace()); diff != "" {
		t.Errorf("steps of create (-want +got):\n%s", diff)
	}
	if s := record(t, m, id).State(); s != runtimeapi.ContainerState_CONTAINER_CREATED {
		t.Errorf("state = %s", s)
	}

	f.Forget()
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("new task\nstart task\nsave running", f.Trace()); diff != "" {
		t.Errorf("steps of start (-want +got):\n%s", diff)
	}
	if r := record(t, m, id); r.PID != uint32(os.Getpid()) || !r.running() {
		t.Errorf("record = %+v", r)
	}

	f.Forget()
	r := record(t, m, id)
	f.Task(id).Exit(7)
	<-r.life.reaped
	if diff := cmp.Diff("save exited\ndelete task", f.Trace()); diff != "" {
		t.Errorf("steps of exit (-want +got):\n%s", diff)
	}
	r = record(t, m, id)
	checkExit(t, r, Exit{Code: 7, Reason: ReasonError})
	if r.Times.Finished != time.Unix(200, 0).UnixNano() {
		t.Errorf("finished at %d", r.Times.Finished)
	}

	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
	if _, err := m.Get(id); !errdefs.IsNotFound(err) {
		t.Errorf("Get of a removed container: %v", err)
	}
}

// TestCreateRollsBackEveryStep fails each step of Create in turn: nothing is left and the name is
// free.
func TestCreateRollsBackEveryStep(t *testing.T) {
	for _, step := range []string{"check spec", "unpack", "snapshot", "make spec", "create container"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			f.Fail(step, errBroken)
			if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); !errors.Is(err, errBroken) {
				t.Fatalf("Create = %v", err)
			}
			checkLeft(t, f, m)
			f.Fail(step, nil)
			mustCreate(t, m, "app")
		})
	}
}

// A task joins the shim of its pod without a start command, unless the handler has a runtime_path:
// containerd looks for the shim by the runtime's type and would not find it again.
func TestContainerJoinsTheShimOfItsPod(t *testing.T) {
	for shim, want := range map[string]string{"": "pod1", "/opt/shim": ""} {
		f := newFakeNode()
		f.shim = shim
		if _, err := newManager(t, f, t.TempDir()).Create(t.Context(), "pod1", containerConfig("app")); err != nil {
			t.Fatal(err)
		}
		if f.Created.Sandbox != want {
			t.Errorf("runtime_path %q: the task joins the shim of %q, want %q", shim, f.Created.Sandbox, want)
		}
	}
}

// A pod that is stopped during a CreateContainer keeps no container.
func TestCreateIsRolledBackIfThePodStops(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	made := f.Block("make spec")
	result := make(chan error)
	go func() {
		_, err := m.Create(context.Background(), "pod1", containerConfig("app"))
		result <- err
	}()
	f.setPod(pod.Stopping)
	made()
	if err := <-result; !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Create = %v, want FailedPrecondition", err)
	}
	checkLeft(t, f, m)
}

// A start between the steps of a removal does not make the removal fail.
func TestRemoveWhileStarting(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	for range 300 {
		id := mustCreate(t, m, "app")
		started := make(chan error, 1)
		go func() { started <- m.Start(context.Background(), id) }()
		if err := m.Remove(t.Context(), id); err != nil {
			t.Fatalf("Remove = %v", err)
		}
		if err := <-started; err != nil && !errdefs.IsFailedPrecondition(err) && !errdefs.IsNotFound(err) {
			t.Fatalf("Start = %v", err)
		}
	}
	checkLeft(t, f, m)
}

func TestBadRequests(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	noImage := containerConfig("app")
	noImage.Image.Image = "missing"
	for name, tc := range map[string]struct {
		pod    string
		config *runtimeapi.ContainerConfig
		class  func(error) bool
	}{
		"unknown pod":   {"nope", containerConfig("app"), errdefs.IsNotFound},
		"unknown image": {"pod1", noImage, errdefs.IsNotFound},
		"no metadata":   {"pod1", &runtimeapi.ContainerConfig{}, errdefs.IsInvalidArgument},
		"no config":     {"pod1", nil, errdefs.IsInvalidArgument},
	} {
		if _, err := m.Create(t.Context(), tc.pod, tc.config); !tc.class(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustCreate(t, m, "app")
	if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("the same container again: %v", err)
	}
	f.setPod(pod.Stopped)
	if _, err := m.Create(t.Context(), "pod1", containerConfig("late")); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("create in a stopped pod: %v", err)
	}
	for name, err := range map[string]error{
		"start":  m.Start(t.Context(), "nope"),
		"update": m.UpdateResources(t.Context(), "nope", &runtimeapi.LinuxContainerResources{}),
		"log":    m.ReopenLog(t.Context(), "nope"),
	} {
		if !errdefs.IsNotFound(err) {
			t.Errorf("%s of an unknown container: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"stop":   m.Stop(t.Context(), "nope", 0),
		"remove": m.Remove(t.Context(), "nope"),
	} {
		if err != nil {
			t.Errorf("%s of an unknown container: %v", name, err)
		}
	}
}

// A failed start leaves an exited container with the cause in its message.
func TestStartFailure(t *testing.T) {
	for _, step := range []string{"new task", "start task"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			id := mustCreate(t, m, "app")
			f.Fail(step, errBroken)
			if err := m.Start(t.Context(), id); !errors.Is(err, errBroken) {
				t.Fatalf("Start = %v", err)
			}
			r := record(t, m, id)
			if r.State() != runtimeapi.ContainerState_CONTAINER_EXITED || r.Exit.Reason != ReasonStartError || r.Exit.Code != startErrorCode || r.Times.Started != 0 {
				t.Errorf("record = %+v", r)
			}
			if err := m.Start(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("second start: %v", err)
			}
			if err := m.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			checkLeft(t, f, m)
		})
	}
}

func TestExitReasons(t *testing.T) {
	for _, tc := range []struct {
		code uint32
		oom  bool
		want string
	}{
		{0, false, ReasonCompleted},
		{1, false, ReasonError},
		{137, false, ReasonError},
		{137, true, ReasonOOMKilled},
		{0, true, ReasonCompleted}, // a child was killed, but not the container's process
	} {
		f := newFakeNode()
		f.oom = tc.oom
		m := newManager(t, f, t.TempDir())
		id := mustStart(t, m, "app")
		r := record(t, m, id)
		f.Task(id).Exit(tc.code)
		<-r.life.ended
		if got := record(t, m, id).Exit.Reason; got != tc.want {
			t.Errorf("code %d, oom %v: %s, want %s", tc.code, tc.oom, got, tc.want)
		}
	}
}

// loseShim ends a task; waits for it get an error instead of the exit.
func loseShim(task *runtimetest.Task) {
	task.SetError(errdefs.ErrNotFound)
	task.Exit(0)
}

// If the shim dies, the exit comes from an event of containerd.
func TestLostShim(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	r := record(t, m, id)
	m.OnExit(runtime.Exit{ID: id, Code: 137, At: time.Unix(200, 0)})
	loseShim(f.Task(id))
	<-r.life.ended
	if got := record(t, m, id).Exit; got.Reason != ReasonError || got.Code != 137 {
		t.Errorf("exit = %+v", got)
	}
}

// If the shim dies and there is no exit event, the exit code is unknown.
func TestLostShimWithoutExitEvent(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	m.watcher.exitEventTimeout = 0
	id := mustStart(t, m, "app")
	r := record(t, m, id)
	loseShim(f.Task(id))
	<-r.life.ended
	if got := record(t, m, id).Exit; got.Reason != ReasonUnknown || got.Code != unknownExitCode {
		t.Errorf("exit = %+v", got)
	}
}

// Each step of Remove fails in turn; the next call completes the removal.
func TestRemoveResumes(t *testing.T) {
	for _, step := range []string{"delete task by force", "delete container"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			id := mustStart(t, m, "app")
			f.Fail("delete task", errBroken) // so that the task must be deleted by force
			f.Fail(step, errBroken)
			if err := m.Remove(t.Context(), id); !errors.Is(err, errBroken) {
				t.Fatalf("Remove = %v", err)
			}
			record(t, m, id)
			f.Fail(step, nil)
			if err := m.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			checkLeft(t, f, m)
		})
	}
}

func TestStopAllAndRemoveAll(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	a := mustStart(t, m, "a")
	b := mustStart(t, m, "b")
	if err := m.StopAll(t.Context(), "pod1"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{a, b} {
		if record(t, m, id).running() {
			t.Errorf("%s runs", id)
		}
	}
	if err := m.RemoveAll(t.Context(), "pod1"); err != nil {
		t.Fatal(err)
	}
	if list := m.List(); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}

func TestRecover(t *testing.T) {
	created, running, exited := runtimeapi.ContainerState_CONTAINER_CREATED,
		runtimeapi.ContainerState_CONTAINER_RUNNING, runtimeapi.ContainerState_CONTAINER_EXITED
	for _, tc := range []struct {
		name   string
		start  bool
		meet   func(f *fakeNode, id string) // changes made while the daemon is down
		want   runtimeapi.ContainerState
		code   int32
		reason string
	}{
		{name: "created", want: created, meet: func(*fakeNode, string) {}},
		{name: "created, start interrupted", want: created, meet: func(f *fakeNode, id string) { f.AddTask(id, runtime.Created) }},
		{name: "created, start not saved", want: running, meet: func(f *fakeNode, id string) { f.AddTask(id, runtime.Running) }},
		{name: "running", start: true, want: running, meet: func(*fakeNode, string) {}},
		{name: "exited while the daemon was down", start: true, want: exited, code: 7, reason: ReasonError,
			meet: func(f *fakeNode, id string) { f.Task(id).Exit(7) }},
		{name: "task gone", start: true, want: exited, code: unknownExitCode, reason: ReasonUnknown,
			meet: func(f *fakeNode, id string) { _ = f.DeleteTask(context.Background(), id) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, dir := newFakeNode(), t.TempDir()
			before := newManager(t, f, dir)
			id := mustCreate(t, before, "app")
			if tc.start {
				if err := before.Start(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			before.Close()
			tc.meet(f, id)

			after := recoveredManager(t, f, dir)
			r := record(t, after, id)
			if r.State() != tc.want || r.Exit.Code != tc.code || r.Exit.Reason != tc.reason {
				t.Errorf("%s, exit %+v; want %s, %d %s", r.State(), r.Exit, tc.want, tc.code, tc.reason)
			}
			if tc.want == created {
				if err := after.Start(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
			if err := after.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			checkLeft(t, f, after)
		})
	}
}

// A broken record is skipped, and the container's directories are kept for the administrator.
func TestRecoverSkipsABrokenRecord(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	before := newManager(t, f, dir)
	id := mustCreate(t, before, "app")
	before.Close()
	if err := before.Dirs.make("bad1"); err != nil {
		t.Fatal(err)
	}
	for id, content := range map[string]string{"bad1": "{", "bad2": "null", "bad3": `{"id":"other"}`, "bad4": ""} {
		f.ContainerRecords[id] = []byte(content)
	}
	after := recoveredManager(t, f, dir)
	if list := after.List(); len(list) != 1 || list[0].ID != id {
		t.Errorf("containers = %v", list)
	}
	if _, err := os.Stat(after.Dirs.Container("bad1").IO()); err != nil {
		t.Error(err)
	}
	if err := after.Start(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// Directories that a crash left behind are removed at the next start. Those of the built-in CRI's
// containers are kept.
func TestRecoverRemovesStrayDirectories(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	before := newManager(t, f, dir)
	kept := mustCreate(t, before, "app")
	before.Close()
	f.Foreign = "foreign"
	for _, id := range []string{"stray", f.Foreign} {
		if err := before.Dirs.make(id); err != nil {
			t.Fatal(err)
		}
	}
	after := recoveredManager(t, f, dir)
	for id, want := range map[string]bool{"stray": false, f.Foreign: true, kept: true} {
		if _, err := os.Stat(after.Dirs.Container(id).Root); (err == nil) != want {
			t.Errorf("directory of %s: %v", id, err)
		}
	}
}

func TestStopSignal(t *testing.T) {
	for _, tc := range []struct {
		asked runtimeapi.Signal
		image string
		want  string
	}{
		{0, "", "SIGTERM"},
		{0, "SIGQUIT", "SIGQUIT"},
		{0, "3", "SIGQUIT"},
		{0, "nonsense", "SIGTERM"},
		{0, "SIGRTMIN+3", "SIGRTMIN+3"},
		{runtimeapi.Signal_SIGNAL_SIGINT, "SIGQUIT", "SIGINT"},
		{runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3, "", "SIGRTMIN+3"},
	} {
		got := stopSignal(tc.asked, tc.image)
		if got != tc.want {
			t.Errorf("stopSignal(%s, %q) = %s, want %s", tc.asked, tc.image, got, tc.want)
		}
	}
	r := &Record{StopSignal: "SIGRTMIN+3"}
	if got := r.CRIStopSignal(); got != runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3 {
		t.Errorf("CRIStopSignal = %s", got)
	}
}

// A crash during a create leaves a snapshot that no container refers to.
func TestRecoverRenewsLease(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	if _, err := f.PrepareSnapshot(t.Context(), runtime.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	m := recoveredManager(t, f, dir)
	checkLeft(t, f, m)
}
