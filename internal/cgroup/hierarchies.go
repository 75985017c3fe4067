// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Root is the mount point of cgroups, by convention.
const Root = "/sys/fs/cgroup"

// Unified stands for the cgroup v2 hierarchy in maps and arguments that name hierarchies by their
// controller.
const Unified = ""

// Mode is the set of mounted cgroup hierarchies.
type Mode int

const (
	// V2 is the unified hierarchy at [Root].
	V2 Mode = iota + 1
	// Hybrid has v1 hierarchies, which apply the limits, and v2 at /sys/fs/cgroup/unified for
	// systemd.
	Hybrid
	// V1 has v1 hierarchies only.
	V1
)

func (m Mode) String() string {
	switch m {
	case V2:
		return "v2"
	case Hybrid:
		return "hybrid"
	case V1:
		return "v1"
	}
	return "unknown"
}

// IsV2 reports whether the mode of this node is [V2], without reading the mount table.
func IsV2() bool {
	var fs unix.Statfs_t
	return unix.Statfs(Root, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// Hierarchies are the cgroup hierarchies of a node: one of cgroup v2, or one mount for each
// controller of v1. A hybrid node has those of v1.
type Hierarchies struct {
	Mode    Mode     // 0 if nothing is mounted at Root
	Options []string // of the file system at Root
	Own     Paths    // of this process

	mounts map[string]string // mount point by controller
}

// Find reads the hierarchies of the node whose root directory is root.
func Find(root fs.FS) (Hierarchies, error) {
	data, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return Hierarchies{}, fmt.Errorf("cgroup hierarchies: %w", err)
	}
	list, err := mountinfo.GetMountsFromReader(bytes.NewReader(data), mountinfo.PrefixFilter(Root))
	if err != nil {
		return Hierarchies{}, fmt.Errorf("cgroup hierarchies: mount table: %w", err)
	}
	h := Hierarchies{mounts: map[string]string{}}
	if h.addMounts(list); h.Mode == 0 {
		return h, nil
	}
	if data, err = fs.ReadFile(root, "proc/self/cgroup"); err != nil {
		return Hierarchies{}, fmt.Errorf("cgroup hierarchies: %w", err)
	}
	h.Own = parsePaths(string(data))
	return h, nil
}

// addMounts sets the mode, the options and the mount points from the mount table. Of several mounts
// at one mount point it uses the last, which hides the others.
func (h *Hierarchies) addMounts(list []*mountinfo.Info) {
	topmost := make(map[string]*mountinfo.Info, len(list))
	for _, m := range list {
		topmost[m.Mountpoint] = m
	}
	top, ok := topmost[Root]
	if !ok {
		return
	}
	h.Options = strings.Split(top.VFSOptions, ",")
	if top.FSType == "cgroup2" {
		h.Mode, h.mounts[Unified] = V2, Root
		return
	}
	h.Mode = V1
	if unified, ok := topmost[Root+"/unified"]; ok && unified.FSType == "cgroup2" {
		h.Mode = Hybrid
	}
	for _, m := range list {
		if m.FSType == "cgroup" && m == topmost[m.Mountpoint] {
			// The options of the file system include its controllers.
			for controller := range strings.SplitSeq(m.VFSOptions, ",") {
				h.mounts[controller] = m.Mountpoint
			}
		}
	}
}

// Dir returns the directory of a cgroup in the hierarchy of a controller, or "" if the controller
// is not mounted. The cgroup is as for [Hierarchies.Path].
func (h *Hierarchies) Dir(controller, cgroup string) string {
	mount, ok := h.mounts[controller]
	if !ok {
		return ""
	}
	return path.Join(mount, h.Path(controller, cgroup))
}

// Path returns the absolute path of a cgroup in the hierarchy of a controller. The cgroup is given
// in any form that [Expand] converts.
func (h *Hierarchies) Path(controller, cgroup string) string {
	return h.Own.Resolve(controller, Expand(cgroup))
}
