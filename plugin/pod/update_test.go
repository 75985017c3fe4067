// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestUpdateResources(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	requested := ownPID("web")
	requested.Linux.Overhead = &runtimeapi.LinuxContainerResources{CpuShares: 10}
	id := mustRun(t, m, requested)
	resources := &runtimeapi.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 50000, MemoryLimitInBytes: 1 << 30}
	if err := m.UpdateResources(t.Context(), id, nil, resources); err != nil {
		t.Fatal(err)
	}
	m.Close()

	after := recoveredManager(t, f) // the daemon after a restart
	r, err := after.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	want := ownPID("web")
	want.Linux.Overhead = &runtimeapi.LinuxContainerResources{CpuShares: 10}
	want.Linux.Resources = resources
	if diff := cmp.Diff(want, r.Config, protocmp.Transform()); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if requested.Linux.Resources != nil {
		t.Error("the caller's config was changed")
	}
}

// A pod whose config has no Linux part gets one.
func TestUpdateResourcesOfAPodWithoutLinux(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, podConfig("web"))
	overhead := &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 1 << 20}
	if err := m.UpdateResources(t.Context(), id, overhead, nil); err != nil {
		t.Fatal(err)
	}
	r, err := m.Get(id)
	if diff := cmp.Diff(overhead, r.Config.GetLinux().GetOverhead(), protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("overhead: %v (-want +got):\n%s", err, diff)
	}
}

func TestUpdateResourcesRefuses(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	f.Forget()
	for name, tc := range map[string]struct {
		id                  string
		overhead, resources *runtimeapi.LinuxContainerResources
		class               func(error) bool
	}{
		"unknown pod":       {"other", nil, nil, errdefs.IsNotFound},
		"negative shares":   {id, nil, &runtimeapi.LinuxContainerResources{CpuShares: -1}, errdefs.IsInvalidArgument},
		"negative period":   {id, &runtimeapi.LinuxContainerResources{CpuPeriod: -5}, nil, errdefs.IsInvalidArgument},
		"negative memory":   {id, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: -2}, nil, errdefs.IsInvalidArgument},
		"negative quota":    {id, nil, &runtimeapi.LinuxContainerResources{CpuQuota: -2}, errdefs.IsInvalidArgument},
		"overflowing quota": {id, nil, &runtimeapi.LinuxContainerResources{CpuQuota: 1 << 62}, errdefs.IsInvalidArgument},
	} {
		if err := m.UpdateResources(t.Context(), tc.id, tc.overhead, tc.resources); !tc.class(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.Trace() != "" {
		t.Errorf("something was saved:\n%s", f.Trace())
	}
}
