// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/cgrouppath"
)

// Reader reads the files of cgroups, of version 2 or 1.
type Reader struct {
	root      string // "/" but in tests
	cgroups   hierarchies
	pageSizes []string // of huge pages, such as "2MB"
	buffers   *buffers
}

// depth is how much of a cgroup is read.
type depth int

const (
	brief depth = iota // what the statistics need
	full               // what the metrics need, too
)

// NewReader looks up how cgroups are mounted below root, which is "/" but in
// tests. They are not expected to move afterwards.
func NewReader(root string) (*Reader, error) {
	cgroups, err := findHierarchies(root)
	if err != nil {
		return nil, err
	}
	return &Reader{root: root, cgroups: cgroups, pageSizes: hugePageSizes(root), buffers: newBuffers()}, nil
}

// read reads a cgroup, given as the cgroupsPath of an OCI spec or as the
// cgroup_parent of a pod: a path, slice:prefix:name or name.slice. Of a cgroup
// that is not there nothing is known.
func (r *Reader) read(cgroup string, depth depth) (c readings) {
	at := time.Now().UnixNano()
	cgroup = cgrouppath.Expand(cgroup)
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

// deviceName is the name of a block device, or its number if it has none.
func (r *Reader) deviceName(major, minor uint64) string {
	number := fmt.Sprintf("%d:%d", major, minor)
	target, err := os.Readlink(filepath.Join(r.root, "sys/dev/block", number))
	if err != nil {
		return number
	}
	// The kernel writes "!" for a slash in a device's name (cciss!c0d0).
	return "/dev/" + strings.ReplaceAll(filepath.Base(target), "!", "/")
}

func (r *Reader) isV2() bool {
	_, ok := r.cgroups.mounts[unified]
	return ok
}

// path is the path of a cgroup in its hierarchy, by which cAdvisor knows it.
func (r *Reader) path(cgroup string) string {
	controller := unified
	if !r.isV2() {
		controller = "memory"
	}
	return r.cgroups.path(controller, cgrouppath.Expand(cgroup))
}

// OOMKilled tells whether the kernel has killed a process of the cgroup, or with
// v2 of one below it (an init system in the container makes them), for want of
// memory. It is not known once the cgroup is removed.
func (r *Reader) OOMKilled(cgroup string) (killed, known bool) {
	controller, file := unified, "memory.events"
	if !r.isV2() {
		controller, file = "memory", "memory.oom_control"
	}
	var kills num
	r.buffers.below(r.cgroups.dir(controller, cgrouppath.Expand(cgroup)), func(d dir) {
		d.collect(file, only("oom_kill", &kills))
	})
	return kills.GetValue() > 0, kills != nil
}

// hugePageSizes returns the sizes of huge pages that the machine has, as the
// files of cgroups name them, the smallest first.
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
