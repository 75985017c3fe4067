// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestUpdateResources(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Forget()
	if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 512}); err != nil {
		t.Fatal(err)
	}
	want := "read spec\nmerge resources\nsave spec 512\nupdate task\nsave running"
	if diff := cmp.Diff(want, f.Trace()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got := record(t, m, id).Resources.GetCpuShares(); got != 512 {
		t.Errorf("shares = %d", got)
	}
	f.Forget()
	f.Fail("update task", errBroken)
	if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 99}); !errors.Is(err, errBroken) {
		t.Fatalf("Update = %v", err)
	}
	want = "read spec\nmerge resources\nsave spec 99\nupdate task\nupdate task\nsave spec 2"
	if diff := cmp.Diff(want, f.Trace()); diff != "" {
		t.Errorf("steps of a refused update (-want +got):\n%s", diff)
	}
	if got := record(t, m, id).Resources.GetCpuShares(); got != 512 {
		t.Errorf("shares after a refused update = %d", got)
	}
}

// An update of a container that is not running changes its spec. A created container starts with
// the new limits.
func TestUpdateResourcesNotRunning(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	created, exited := mustCreate(t, m, "created"), mustStart(t, m, "exited")
	r := record(t, m, exited)
	f.Task(exited).Exit(0)
	<-r.life.reaped
	for _, id := range []string{created, exited} {
		f.Forget()
		if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 512}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(f.Trace(), "update task") || !strings.Contains(f.Trace(), "save spec 512") {
			t.Errorf("steps:\n%s", f.Trace())
		}
		if got := record(t, m, id).Resources.GetCpuShares(); got != 512 {
			t.Errorf("shares = %d", got)
		}
	}
}

// A memory limit is lowered only if the container is not killed for it.
func TestLowerMemoryLimitIsChecked(t *testing.T) {
	for _, c := range []struct {
		current, updated int64
		want             bool
	}{
		{2000, 1000, true}, {0, 1000, true}, {-1, 1000, true}, {1000, 1000, false}, {1000, 2000, false}, {1000, -1, false}, {0, 0, false},
	} {
		current, updated := &specs.LinuxMemory{Limit: &c.current}, &specs.LinuxMemory{Limit: &c.updated}
		got := withUsageCheck(&specs.LinuxResources{Memory: current}, &specs.LinuxResources{Memory: updated}).Memory.CheckBeforeUpdate
		if asked := got != nil && *got; asked != c.want {
			t.Errorf("from %d to %d: CheckBeforeUpdate = %t", c.current, c.updated, asked)
		}
		if updated.CheckBeforeUpdate != nil {
			t.Error("the container's spec is changed")
		}
	}
	if nothing := (&specs.LinuxResources{}); withUsageCheck(nil, nothing) != nothing {
		t.Error("an update without a memory limit is changed")
	}
}

// A start in progress may have read the old limits: the new ones are set when it is done.
func TestUpdateDuringStart(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	open := f.Block("new task")
	results := make(chan error, 2)
	go func() { results <- m.Start(context.Background(), id) }()
	f.Await(t, "new task")
	go func() {
		results <- m.UpdateResources(context.Background(), id, &runtimeapi.LinuxContainerResources{CpuShares: 512})
	}()
	f.Await(t, "save spec 512")
	open()
	for range 2 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if trace := f.Trace(); strings.Index(trace, "update task") < strings.Index(trace, "start task") {
		t.Errorf("the limits of the cgroup are not set after the start:\n%s", trace)
	}
}

// Readers do not wait for an update, which may block in the shim.
func TestReadersDoNotWaitForAnUpdate(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	open := f.Block("update task")
	result := make(chan error)
	go func() {
		result <- m.UpdateResources(context.Background(), id, &runtimeapi.LinuxContainerResources{CpuShares: 512})
	}()
	f.Await(t, "update task")
	if got := record(t, m, id).Resources.GetCpuShares(); got == 512 || len(m.List()) != 1 {
		t.Errorf("shares = %d before they are set; %d containers", got, len(m.List()))
	}
	open()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if got := record(t, m, id).Resources.GetCpuShares(); got != 512 {
		t.Errorf("shares = %d", got)
	}
}
