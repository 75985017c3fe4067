// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// A process that exits before Start returns does not finish before its start time.
func TestFinishTimeIsNotBeforeStartTime(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	m.Now = func() time.Time { // the process ends at 200
		if strings.Contains(f.Trace(), "start task") {
			return time.Unix(300, 0)
		}
		return time.Unix(100, 0)
	}
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r := record(t, m, id)
	f.Task(id).Exit(0)
	<-r.life.reaped
	if r = record(t, m, id); r.Times.Started == 0 || r.Times.Finished < r.Times.Started {
		t.Errorf("times %+v", r.Times)
	}
}

// A process whose start was not saved before the daemon ended does not finish before its start
// time.
func TestStartTimeOfAnUnsavedStart(t *testing.T) {
	now, end := time.Unix(300, 0), time.Unix(200, 0)
	if got := latestStart(now, runtime.Status{Status: runtime.Stopped, ExitTime: end}); got != end {
		t.Errorf("start of an exited process: %v", got)
	}
	if got := latestStart(now, runtime.Status{Status: runtime.Running}); got != now {
		t.Errorf("start of a running process: %v", got)
	}
}

// A container that joins the PID namespace of an exited container is not started: the PID may
// belong to another process.
func TestStartFailsIfThePIDTargetHasExited(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	target := mustStart(t, m, "app")
	debug := containerConfig("debug")
	debug.Linux = &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: target},
	}}
	id, err := m.Create(t.Context(), "pod1", debug)
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, m, target)
	f.Task(target).Exit(0)
	<-r.life.reaped
	if err := m.Start(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Start = %v, want FailedPrecondition", err)
	}
}

// A failed start is rolled back even if its timeout has expired.
func TestFailedStartIsRolledBackAfterItsTimeout(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	f.AddTask(id, runtime.Created)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.startFailed(ctx, record(t, m, id), context.DeadlineExceeded)
	if f.Task(id) != nil {
		t.Error("the task is left")
	}
	if r := record(t, m, id); r.Exit.Code != startErrorCode || r.Exit.Reason != ReasonStartError {
		t.Errorf("exit %+v", r.Exit)
	}
}
