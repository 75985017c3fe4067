// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
)

const cgroupRoot = "sys/fs/cgroup"

// CgroupMode is the set of mounted cgroup hierarchies.
type CgroupMode int

const (
	// CgroupV2 is the unified hierarchy at /sys/fs/cgroup.
	CgroupV2 CgroupMode = iota + 1
	// CgroupHybrid has v1 hierarchies, which apply the limits, and v2 at /sys/fs/cgroup/unified for
	// systemd.
	CgroupHybrid
	// CgroupV1 has v1 hierarchies only.
	CgroupV1
)

func (m CgroupMode) String() string {
	switch m {
	case CgroupV2:
		return "v2"
	case CgroupHybrid:
		return "hybrid"
	case CgroupV1:
		return "v1"
	}
	return "unknown"
}

// Cgroups are the capabilities of the machine's cgroups.
type Cgroups struct {
	Mode CgroupMode
	// Controllers are the controllers that can limit containers.
	Controllers []string
	// Swap and Hugetlb are set if the machine has these limits.
	Swap, Hugetlb bool

	mountOptions []string
}

func readCgroups(root fs.FS) (Cgroups, error) {
	mounts, err := cgroupMounts(root)
	if err != nil {
		return Cgroups{}, err
	}
	top, ok := mounts["/"+cgroupRoot]
	switch {
	case !ok:
		return Cgroups{}, fmt.Errorf("no cgroup filesystem at /%s: %w", cgroupRoot, errdefs.ErrFailedPrecondition)
	case top.FSType == "cgroup2":
		return readV2(root, top)
	}
	c, err := readV1(root)
	if unified, ok := mounts["/"+cgroupRoot+"/unified"]; ok && unified.FSType == "cgroup2" {
		c.Mode = CgroupHybrid
	}
	return c, err
}

// cgroupMounts returns the topmost mount at each mount point at and below /sys/fs/cgroup.
func cgroupMounts(root fs.FS) (map[string]*mountinfo.Info, error) {
	data, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	list, err := mountinfo.GetMountsFromReader(bytes.NewReader(data), mountinfo.PrefixFilter("/"+cgroupRoot))
	if err != nil {
		return nil, fmt.Errorf("mount table: %w", err)
	}
	mounts := make(map[string]*mountinfo.Info, len(list))
	for _, m := range list {
		mounts[m.Mountpoint] = m
	}
	return mounts, nil
}

func readV2(root fs.FS, top *mountinfo.Info) (Cgroups, error) {
	data, err := fs.ReadFile(root, cgroupRoot+"/cgroup.controllers")
	if err != nil {
		return Cgroups{}, err
	}
	c := Cgroups{Mode: CgroupV2, Controllers: strings.Fields(string(data))}
	c.Hugetlb = slices.Contains(c.Controllers, "hugetlb")
	for o := range strings.SplitSeq(top.VFSOptions, ",") {
		if o == "nsdelegate" || o == "memory_recursiveprot" {
			c.mountOptions = append(c.mountOptions, o)
		}
	}
	c.Swap, err = swapV2(root)
	return c, err
}

// swapV2 looks for memory.swap.max in the daemon's own cgroup and in all children of the root
// cgroup. The root cgroup itself never has this file.
func swapV2(root fs.FS) (bool, error) {
	own, err := ownCgroup(root)
	if err != nil {
		return false, err
	}
	patterns := []string{
		path.Join(cgroupRoot, own, "memory.swap.max"),
		cgroupRoot + "/*/memory.swap.max",
	}
	for _, p := range patterns {
		if found, err := fs.Glob(root, p); err == nil && len(found) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// ownCgroup returns the path of the daemon's cgroup in the v2 hierarchy.
func ownCgroup(root fs.FS) (string, error) {
	data, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if own, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(own, "\n"), nil
		}
	}
	return "/", nil
}

func readV1(root fs.FS) (Cgroups, error) {
	data, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return Cgroups{}, err
	}
	c := Cgroups{Mode: CgroupV1}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		_, rest, _ := strings.Cut(lines.Text(), ":")
		controllers, _, _ := strings.Cut(rest, ":")
		for name := range strings.SplitSeq(controllers, ",") {
			if name != "" && !strings.HasPrefix(name, "name=") {
				c.Controllers = append(c.Controllers, name)
			}
		}
	}
	slices.Sort(c.Controllers)
	c.Hugetlb = exists(root, cgroupRoot+"/hugetlb")
	c.Swap = exists(root, cgroupRoot+"/memory/memory.memsw.limit_in_bytes")
	return c, nil
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}
