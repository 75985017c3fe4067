// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"maps"

	"github.com/containerd/nri/pkg/api"
	nrigen "github.com/containerd/nri/pkg/runtime-tools/generate"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-tools/generate"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/reserved"
)

// Resolvers look up on the host what NRI plugins request by name.
type Resolvers struct {
	CDI     func(s *specs.Spec, devices []string) error
	BlockIO func(class string) (*specs.LinuxBlockIO, error)
	RDT     func(class string) (*specs.LinuxIntelRdt, error)
}

// Adjust returns the spec of a new container with the changes that NRI plugins request. It covers
// each field of [api.ContainerAdjustment]. before is not changed.
//
// NRI's own generator leaves out some fields and sets a swap limit where the host has none: they
// are set here. A plugin cannot change reserved annotations, by which shims identify containers.
func Adjust(before *specs.Spec, a *api.ContainerAdjustment, r Resolvers, facts Facts, options Options) (*specs.Spec, error) {
	s, err := clone(before)
	if err != nil {
		return nil, err
	}
	resources := a.GetLinux().GetResources()
	if resources != nil {
		a = proto.CloneOf(a)
		a.Linux.Resources = &api.LinuxResources{
			BlockioClass: resources.GetBlockioClass(), RdtClass: resources.GetRdtClass(), Devices: resources.GetDevices(),
		}
	}
	base := generate.NewFromSpec(s)
	g := nrigen.SpecGenerator(&base,
		nrigen.WithBlockIOResolver(r.BlockIO), nrigen.WithRdtResolver(r.RDT), nrigen.WithCDIDeviceInjector(r.CDI))
	if err := g.Adjust(a); err != nil {
		return nil, fmt.Errorf("changes of NRI plugins: %w", err)
	}
	if s.Linux.Resources, err = MergeNRI(s.Linux.Resources, resources, facts, options); err != nil {
		return nil, err
	}
	if errno := a.GetLinux().GetSeccompPolicy().GetDefaultErrno(); errno != nil {
		s.Linux.Seccomp.DefaultErrnoRet = new(uint(errno.GetValue()))
	}
	s.Process.Rlimits = lastOfEach(s.Process.Rlimits)
	s.Annotations = reserved.Drop(s.Annotations)
	for key, value := range before.Annotations {
		if reserved.Name(key) || key == annotationSubgroup {
			s.Annotations[key] = value
		}
	}
	return s, nil
}

// lastOfEach returns the last limit of each type: an OCI runtime refuses a type that is given
// twice.
func lastOfEach(limits []specs.POSIXRlimit) []specs.POSIXRlimit {
	at := map[string]int{}
	var kept []specs.POSIXRlimit
	for _, l := range limits {
		if i, found := at[l.Type]; found {
			kept[i] = l
			continue
		}
		at[l.Type] = len(kept)
		kept = append(kept, l)
	}
	return kept
}

// MergeNRI returns current with the resources that NRI plugins request merged in. A field that is
// not set keeps the current value. current is not changed.
func MergeNRI(current *specs.LinuxResources, wanted *api.LinuxResources, facts Facts, options Options) (*specs.LinuxResources, error) {
	if wanted == nil {
		return current, nil
	}
	r, err := copyOf(current)
	if err != nil {
		return nil, err
	}
	asked := wanted.ToOCI()
	if wanted.GetCpu() != nil {
		mergeNRICPU(r, asked.CPU)
	}
	if wanted.GetMemory() != nil {
		mergeNRIMemory(r, asked.Memory, facts.SwapController)
	}
	var pages []*runtimeapi.HugepageLimit
	for _, l := range wanted.GetHugepageLimits() {
		pages = append(pages, &runtimeapi.HugepageLimit{PageSize: l.GetPageSize(), Limit: l.GetLimit()})
	}
	if err := mergeHugepages(r, pages, facts, options); err != nil {
		return nil, err
	}
	if asked.Pids != nil {
		r.Pids = asked.Pids
	}
	if len(asked.Unified) > 0 && r.Unified == nil {
		r.Unified = map[string]string{}
	}
	maps.Copy(r.Unified, asked.Unified)
	return r, checkMerged(r)
}

// checkMerged refuses values that no kernel accepts.
func checkMerged(r *specs.LinuxResources) error {
	l := &runtimeapi.LinuxContainerResources{}
	effectiveLimits(l, r)
	err := checkRanges(l)
	if err == nil {
		err = checkSwap(l.GetMemoryLimitInBytes(), l.GetMemorySwapLimitInBytes())
	}
	if err != nil {
		return fmt.Errorf("resources of NRI plugins: %w", err)
	}
	return nil
}

func mergeNRICPU(r *specs.LinuxResources, asked *specs.LinuxCPU) {
	if r.CPU == nil {
		r.CPU = &specs.LinuxCPU{}
	}
	replace(&r.CPU.Shares, asked.Shares)
	replace(&r.CPU.Quota, asked.Quota)
	replace(&r.CPU.Period, asked.Period)
	replace(&r.CPU.RealtimeRuntime, asked.RealtimeRuntime)
	replace(&r.CPU.RealtimePeriod, asked.RealtimePeriod)
	if asked.Cpus != "" {
		r.CPU.Cpus = asked.Cpus
	}
	if asked.Mems != "" {
		r.CPU.Mems = asked.Mems
	}
}

// mergeNRIMemory sets the limit and, unless a plugin requests another one, the same limit for
// memory and swap together: see mergeMemory.
func mergeNRIMemory(r *specs.LinuxResources, asked *specs.LinuxMemory, swapController bool) {
	if r.Memory == nil {
		r.Memory = &specs.LinuxMemory{}
	}
	if limit := value(asked.Limit); limit != 0 {
		r.Memory.Limit = &limit
		if asked.Swap == nil && swapController {
			r.Memory.Swap = &limit
		}
	}
	if swapController {
		replace(&r.Memory.Swap, asked.Swap)
	}
	replace(&r.Memory.Reservation, asked.Reservation)
	replace(&r.Memory.Kernel, asked.Kernel) //nolint:staticcheck // deprecated, and still in NRI
	replace(&r.Memory.KernelTCP, asked.KernelTCP)
	replace(&r.Memory.Swappiness, asked.Swappiness)
	replace(&r.Memory.DisableOOMKiller, asked.DisableOOMKiller)
	replace(&r.Memory.UseHierarchy, asked.UseHierarchy)
}

// replace sets *p unless v is nil.
func replace[T any](p **T, v *T) {
	if v != nil {
		*p = v
	}
}
