// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	resourceField = "linux.resources."
	// The kernel's limits, in microseconds. Quotas have a bound so that runtimes do not overflow.
	minCPUTime, maxCPUPeriod, maxCPUQuota = 1000, 1000000, 1 << 40

	minCPUShares, maxCPUShares = 2, 262144
	minOOMScore                = -1000
	maxOOMScore                = 1000
	notSpecified               = 0
)

var (
	cpusetList   = regexp.MustCompile(`^\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*$`)
	hugepageSize = regexp.MustCompile(`^[1-9]\d{0,9}[KMG]B$`)
)

// resources writes the limits and the OOM score of a new container.
func (b *builder) resources() error {
	wanted := b.in.Config.GetLinux().GetResources()
	if wanted == nil {
		return nil
	}
	merged, err := Resources(b.spec.Linux.Resources, wanted, b.in.Facts, b.in.Options)
	if err != nil {
		return err
	}
	b.spec.Linux.Resources = merged
	b.spec.Process.OOMScoreAdj = oomScore(int(wanted.GetOomScoreAdj()), b.in.Facts, b.in.Options)
	return nil
}

// oomScore returns the score to write into the spec. With RestrictOOMScoreAdj it is not below the
// daemon's own, because a process without CAP_SYS_RESOURCE cannot set a lower score.
func oomScore(score int, facts Facts, options Options) *int {
	if options.RestrictOOMScoreAdj {
		score = max(score, facts.OOMScoreAdj)
	}
	return &score
}

// Resources returns current with the limits of wanted merged in. For a new container these are its
// limits; for UpdateContainerResources they are applied and saved in the spec of the container. A
// zero, empty or missing value of wanted keeps the current one. current is not changed. The OOM
// score is not included, because no runtime can change it later.
func Resources(
	current *specs.LinuxResources, wanted *runtimeapi.LinuxContainerResources, facts Facts, options Options,
) (*specs.LinuxResources, error) {
	if err := checkResources(wanted, facts); err != nil {
		return nil, err
	}
	r, err := copyOf(current)
	if err != nil {
		return nil, err
	}
	mergeCPU(r, wanted)
	if err := mergeMemory(r, wanted, facts.SwapController); err != nil {
		return nil, err
	}
	if err := mergeHugepages(r, wanted.GetHugepageLimits(), facts, options); err != nil {
		return nil, err
	}
	// An OCI runtime writes unified last. Entries of an earlier request would override the fields
	// of this one.
	for file := range controlFiles(wanted) {
		delete(r.Unified, file)
	}
	if len(wanted.GetUnified()) > 0 {
		if r.Unified == nil {
			r.Unified = make(map[string]string)
		}
		maps.Copy(r.Unified, wanted.GetUnified())
	}
	return r, nil
}

// copyOf returns a copy of resources that may be nil.
func copyOf(current *specs.LinuxResources) (*specs.LinuxResources, error) {
	if current == nil {
		return &specs.LinuxResources{}, nil
	}
	r, err := clone(current)
	if err != nil {
		return nil, fmt.Errorf("current resources: %w", err)
	}
	return r, nil
}

func mergeCPU(r *specs.LinuxResources, wanted *runtimeapi.LinuxContainerResources) {
	if r.CPU == nil {
		r.CPU = &specs.LinuxCPU{}
	}
	if v := uint64(wanted.GetCpuPeriod()); v != notSpecified {
		r.CPU.Period = &v
	}
	if v := wanted.GetCpuQuota(); v != notSpecified {
		r.CPU.Quota = &v
	}
	if v := uint64(wanted.GetCpuShares()); v != notSpecified {
		r.CPU.Shares = &v
	}
	if v := wanted.GetCpusetCpus(); v != "" {
		r.CPU.Cpus = v
	}
	if v := wanted.GetCpusetMems(); v != "" {
		r.CPU.Mems = v
	}
}

// mergeMemory sets memory and swap together: the swap limit includes the memory limit, and a
// container without a swap limit of its own must not swap (KEP-2400).
func mergeMemory(r *specs.LinuxResources, wanted *runtimeapi.LinuxContainerResources, swapController bool) error {
	if r.Memory == nil {
		r.Memory = &specs.LinuxMemory{}
	}
	limit, swap := wanted.GetMemoryLimitInBytes(), wanted.GetMemorySwapLimitInBytes()
	if limit != notSpecified {
		r.Memory.Limit = &limit
		if swap == notSpecified {
			swap = limit
		}
	}
	if swap != notSpecified && swapController {
		r.Memory.Swap = &swap
	}
	if swap == notSpecified {
		swap = value(r.Memory.Swap)
	}
	return checkSwap(value(r.Memory.Limit), swap)
}

// checkSwap refuses a swap limit below the memory limit.
func checkSwap(limit, swap int64) error {
	if swap > 0 && limit > swap {
		return invalid(resourceField+"memory_swap_limit_in_bytes", "%d is below the memory limit %d, which it includes", swap, limit)
	}
	return nil
}

func mergeHugepages(r *specs.LinuxResources, limits []*runtimeapi.HugepageLimit, facts Facts, options Options) error {
	if len(limits) == 0 || options.DisableHugetlb {
		return nil
	}
	if !facts.Hugetlb {
		if options.TolerateMissingHugetlb {
			return nil
		}
		return unmet(resourceField+"hugepage_limits",
			"the machine has no hugetlb cgroup controller (set tolerate_missing_hugetlb_controller to ignore the limits)")
	}
	for _, l := range limits {
		limit := specs.LinuxHugepageLimit{Pagesize: l.GetPageSize(), Limit: l.GetLimit()}
		same := func(other specs.LinuxHugepageLimit) bool { return other.Pagesize == limit.Pagesize }
		if i := slices.IndexFunc(r.HugepageLimits, same); i >= 0 {
			r.HugepageLimits[i] = limit
			continue
		}
		r.HugepageLimits = append(r.HugepageLimits, limit)
	}
	return nil
}

// checkRanges refuses numbers that no kernel accepts.
func checkRanges(r *runtimeapi.LinuxContainerResources) error {
	for _, v := range []struct {
		field     string
		value     int64
		low, high int64
		lifts     bool // -1 lifts the limit
	}{
		{"cpu_period", r.GetCpuPeriod(), minCPUTime, maxCPUPeriod, false},
		{"cpu_quota", r.GetCpuQuota(), minCPUTime, maxCPUQuota, true},
		{"cpu_shares", r.GetCpuShares(), minCPUShares, maxCPUShares, false},
		{"memory_limit_in_bytes", r.GetMemoryLimitInBytes(), 1, math.MaxInt64, true},
		{"memory_swap_limit_in_bytes", r.GetMemorySwapLimitInBytes(), 1, math.MaxInt64, true},
		{"oom_score_adj", r.GetOomScoreAdj(), minOOMScore, maxOOMScore, false},
	} {
		if v.value == notSpecified || v.lifts && v.value == -1 {
			continue
		}
		if v.value < v.low || v.value > v.high {
			return invalid(resourceField+v.field, "%d is not between %d and %d", v.value, v.low, v.high)
		}
	}
	return nil
}

func checkResources(r *runtimeapi.LinuxContainerResources, facts Facts) error {
	if err := checkRanges(r); err != nil {
		return err
	}
	if err := checkCpuset("cpuset_cpus", r.GetCpusetCpus()); err != nil {
		return err
	}
	if err := checkCpuset("cpuset_mems", r.GetCpusetMems()); err != nil {
		return err
	}
	if err := checkHugepages(r.GetHugepageLimits()); err != nil {
		return err
	}
	if err := checkUnified(r.GetUnified(), facts); err != nil {
		return err
	}
	return checkConflicts(r)
}

// checkConflicts refuses a limit that both a field and a control file in unified set, because it is
// ambiguous. memory.swap.max together with a memory limit is allowed: the kubelet sets the swap
// limit of a container this way.
func checkConflicts(r *runtimeapi.LinuxContainerResources) error {
	for file, field := range controlFiles(r) {
		if _, unified := r.GetUnified()[file]; unified {
			return invalid(resourceField+"unified", "%s is also set by %s", file, field)
		}
	}
	return nil
}

// controlFiles returns the control files of cgroup v2 that the fields of r set, each with the name
// of its field.
func controlFiles(r *runtimeapi.LinuxContainerResources) map[string]string {
	files := map[string]string{}
	for _, limit := range []struct {
		file, field string
		set         bool
	}{
		{"cpu.max", "cpu_quota", r.GetCpuQuota() != notSpecified || r.GetCpuPeriod() != notSpecified},
		{"cpu.weight", "cpu_shares", r.GetCpuShares() != notSpecified},
		{"cpuset.cpus", "cpuset_cpus", r.GetCpusetCpus() != ""},
		{"cpuset.mems", "cpuset_mems", r.GetCpusetMems() != ""},
		{"memory.max", "memory_limit_in_bytes", r.GetMemoryLimitInBytes() != notSpecified},
		{"memory.swap.max", "memory_swap_limit_in_bytes", r.GetMemorySwapLimitInBytes() != notSpecified},
	} {
		if limit.set {
			files[limit.file] = limit.field
		}
	}
	return files
}

// checkCpuset accepts the kernel's list format: 0-3,8.
func checkCpuset(field, list string) error {
	if list != "" && !cpusetList.MatchString(list) {
		return invalid(resourceField+field, "%q is not a list such as 0-3,8", list)
	}
	return nil
}

// checkHugepages accepts the sizes in the names of the kernel's control files: 64KB, 2MB, 1GB.
func checkHugepages(limits []*runtimeapi.HugepageLimit) error {
	for i, l := range limits {
		if !hugepageSize.MatchString(l.GetPageSize()) {
			return invalid(fmt.Sprintf("%shugepage_limits[%d].page_size", resourceField, i), "%q is not a size such as 2MB", l.GetPageSize())
		}
		same := func(other *runtimeapi.HugepageLimit) bool { return other.GetPageSize() == l.GetPageSize() }
		if slices.ContainsFunc(limits[:i], same) {
			return invalid(fmt.Sprintf("%shugepage_limits[%d].page_size", resourceField, i), "%s is given twice", l.GetPageSize())
		}
	}
	return nil
}

// checkUnified accepts names of control files in the container's own cgroup. A name with a slash
// could select a file of another cgroup.
func checkUnified(unified map[string]string, facts Facts) error {
	const field = resourceField + "unified"
	if len(unified) == 0 {
		return nil
	}
	if !facts.CgroupV2 {
		return unmet(field, "needs cgroup v2, the machine has v1")
	}
	for _, key := range slices.Sorted(maps.Keys(unified)) {
		controller, file, ok := strings.Cut(key, ".")
		if !ok || controller == "" || file == "" || path.Base(key) != key {
			return invalid(field, "%q is not a control file such as memory.high", key)
		}
		if err := checkText(field, key); err != nil {
			return err
		}
		if err := checkText(field+"["+key+"]", unified[key]); err != nil {
			return err
		}
	}
	return nil
}
