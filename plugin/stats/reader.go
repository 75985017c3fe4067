// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
)

// Reader reads the files of cgroups, version 2 or 1.
type Reader struct {
	root      string // "/" except in tests
	cgroups   cgroup.Hierarchies
	pageSizes []string // of huge pages, such as "2MB"
	missing   []string // prefixes of the metrics that this node cannot measure
	buffers   *buffers
}

const unified = cgroup.Unified

// depth selects which files of a cgroup are read.
type depth int

const (
	brief depth = iota // for the statistics
	full               // for the metrics, too
)

// NewReader finds the mounts of cgroups below root, which is "/" except in tests, and the features
// of the kernel. It assumes that they do not change later.
func NewReader(root string) (*Reader, error) {
	cgroups, err := cgroup.Find(os.DirFS(root))
	if err != nil {
		return nil, err
	}
	r := &Reader{root: root, cgroups: cgroups, pageSizes: hugePageSizes(root), buffers: newBuffers()}
	r.missing = r.missingMetrics()
	return r, nil
}

// read reads a cgroup, given as the cgroupsPath of an OCI spec or as the cgroup_parent of a pod.
// All values of a missing cgroup are unknown.
func (r *Reader) read(cgroup string, depth depth) (c readings) {
	at := time.Now().UnixNano()
	if r.isV2() {
		c = r.readV2(cgroup, depth)
	} else {
		c = r.readV1(cgroup, depth)
	}
	c.at = at
	for i := range c.io.devices {
		v := &c.io.devices[i]
		v.name = r.deviceName(v.major, v.minor)
	}
	return c
}

// deviceName returns the name of a block device, or its number if it has no name.
func (r *Reader) deviceName(major, minor uint64) string {
	number := fmt.Sprintf("%d:%d", major, minor)
	target, err := os.Readlink(filepath.Join(r.root, "sys/dev/block", number))
	if err != nil {
		return number
	}
	// The kernel writes "!" for a slash in a device's name (cciss!c0d0).
	return "/dev/" + strings.ReplaceAll(filepath.Base(target), "!", "/")
}

// measures reports whether this node has the values of a metric.
func (r *Reader) measures(metric string) bool {
	return !slices.ContainsFunc(r.missing, func(prefix string) bool { return strings.HasPrefix(metric, prefix) })
}

// missingMetrics returns the prefixes of metrics of kernel features, and of cgroup v2, that this
// node does not have.
func (r *Reader) missingMetrics() (missing []string) {
	for _, part := range []struct {
		prefix string
		there  bool
	}{
		{"container_hugetlb_", len(r.pageSizes) > 0 && r.hasController("hugetlb")},
		{"container_fs_io_cost_", r.isV2() && bytes.Contains(r.file("sys/fs/cgroup/io.cost.qos"), []byte("enable=1"))},
		{"container_pressure_", r.isV2() && r.file("proc/pressure/cpu") != nil},
		{"container_memory_events_", r.isV2()},
		{"container_memory_pg", r.isV2()},
		{"container_memory_workingset_refault_", r.isV2()},
	} {
		if !part.there {
			missing = append(missing, part.prefix)
		}
	}
	return missing
}

// hasController reports whether the node has a cgroup controller.
func (r *Reader) hasController(name string) bool {
	if r.isV2() {
		return slices.Contains(strings.Fields(string(r.file("sys/fs/cgroup/cgroup.controllers"))), name)
	}
	return r.cgroups.Dir(name, "/") != ""
}

// file returns the content of a file of the node, or nil.
func (r *Reader) file(path string) []byte {
	data, _ := os.ReadFile(filepath.Join(r.root, path))
	return data
}

func (r *Reader) isV2() bool { return r.cgroups.Mode == cgroup.V2 }

// path returns the path of a cgroup in its hierarchy, which is its id in cAdvisor.
func (r *Reader) path(cgroup string) string {
	controller := unified
	if !r.isV2() {
		controller = "memory"
	}
	return r.cgroups.Path(controller, cgroup)
}

// dir returns the directory of a cgroup in the hierarchy of a controller, or "" if the controller
// is not mounted.
func (r *Reader) dir(controller, cgroup string) string {
	dir := r.cgroups.Dir(controller, cgroup)
	if dir == "" {
		return ""
	}
	return filepath.Join(r.root, dir)
}

// OOMKilled reports whether the kernel has killed a process of the cgroup because memory was
// exhausted. With v2 it includes cgroups below, which an init system in the container creates.
// known is false once the cgroup is removed.
func (r *Reader) OOMKilled(cgroup string) (killed, known bool) {
	controller, file := unified, "memory.events"
	if !r.isV2() {
		controller, file = "memory", "memory.oom_control"
	}
	var kills num
	r.buffers.withPath(r.dir(controller, cgroup), func(d dir) {
		d.collect(file, onlyKey("oom_kill", &kills))
	})
	return kills.GetValue() > 0, kills != nil
}

// hugePageSizes returns the sizes of huge pages that the kernel supports, smallest first, as the
// files of cgroups name them.
func hugePageSizes(root string) []string {
	entries, _ := os.ReadDir(filepath.Join(root, "sys/kernel/mm/hugepages"))
	var sizes []uint64
	for _, e := range entries {
		text, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), "kB"), "hugepages-")
		if kilobytes, err := strconv.ParseUint(text, 10, 64); ok && err == nil {
			sizes = append(sizes, kilobytes)
		}
	}
	slices.SortFunc(sizes, cmp.Compare[uint64])
	names := make([]string, len(sizes))
	for i, kilobytes := range sizes {
		unit, n := "KB", kilobytes
		switch {
		case n >= 1<<20:
			unit, n = "GB", n>>20
		case n >= 1<<10:
			unit, n = "MB", n>>10
		}
		names[i] = fmt.Sprintf("%d%s", n, unit)
	}
	return names
}
