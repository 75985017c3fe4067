// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

const (
	cgroupMount = "/sys/fs/cgroup" // by convention
	unified     = ""               // key of the cgroup v2 hierarchy in the maps below
)

// hierarchies are the cgroup hierarchies of a node: one of cgroup v2, or one mount for each
// controller of v1. A hybrid node counts as v1.
type hierarchies struct {
	mounts map[string]string // mount point by controller; "" is cgroup v2
	own    map[string]string // the daemon's cgroup by controller
}

// findHierarchies reads the cgroup mounts of the node whose root directory is root.
func findHierarchies(root string) (hierarchies, error) {
	h := hierarchies{mounts: map[string]string{}, own: map[string]string{}}
	for file, parse := range map[string]func(io.Reader) error{
		"proc/self/mountinfo": func(r io.Reader) error { return h.addMounts(root, r) },
		"proc/self/cgroup":    h.addOwn,
	} {
		f, err := os.Open(filepath.Join(root, file))
		if err != nil {
			return h, fmt.Errorf("cgroup hierarchies: %w", err)
		}
		err = parse(f)
		f.Close()
		if err != nil {
			return h, fmt.Errorf("cgroup hierarchies: %s: %w", f.Name(), err)
		}
	}
	return h, nil
}

func (h *hierarchies) addMounts(root string, r io.Reader) error {
	mounts, err := mountinfo.GetMountsFromReader(r, mountinfo.PrefixFilter(cgroupMount))
	if err != nil {
		return err
	}
	for _, m := range mounts {
		switch {
		case m.FSType == "cgroup2" && m.Mountpoint == cgroupMount:
			h.mounts = map[string]string{unified: filepath.Join(root, m.Mountpoint)}
			return nil
		case m.FSType == "cgroup":
			// The options of the file system include its controllers.
			for controller := range strings.SplitSeq(m.VFSOptions, ",") {
				h.mounts[controller] = filepath.Join(root, m.Mountpoint)
			}
		}
	}
	return nil
}

// addOwn reads the daemon's cgroups, lines of the form "4:memory:/path". The line of cgroup v2 is
// "0::/path".
func (h *hierarchies) addOwn(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 {
			return fmt.Errorf("line %q is not of the form id:controllers:path", lines.Text())
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			h.own[controller] = parts[2]
		}
	}
	return lines.Err()
}

// dir returns the directory of a cgroup in the hierarchy of a controller, or "" if the controller
// is not mounted.
func (h *hierarchies) dir(controller, cgroup string) string {
	mount, ok := h.mounts[controller]
	if !ok {
		return ""
	}
	return filepath.Join(mount, h.path(controller, cgroup))
}

// path returns the absolute path of a cgroup in the hierarchy of a controller.
func (h *hierarchies) path(controller, cgroup string) string {
	if !path.IsAbs(cgroup) {
		cgroup = path.Join(h.relativeTo(controller), cgroup)
	}
	return path.Clean(cgroup)
}

// relativeTo returns the cgroup that runc resolves a relative path against: its own, which is the
// daemon's. In cgroup v2 it is the parent of that, because a cgroup with processes cannot have
// children with controllers.
func (h *hierarchies) relativeTo(controller string) string {
	if controller == unified {
		return path.Join("/", path.Dir(h.own[controller]))
	}
	return path.Join("/", h.own[controller])
}
