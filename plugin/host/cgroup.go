// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
)

const cgroupRoot = "sys/fs/cgroup"

// Cgroups has the properties of the machine's cgroups.
type Cgroups struct {
	Mode cgroup.Mode
	// Controllers are the controllers that can limit containers.
	Controllers []string
	// Swap and Hugetlb are set if the machine has these limits.
	Swap, Hugetlb bool

	mountOptions []string
}

// ReadCgroups reads the cgroups of the node whose root directory is root.
func ReadCgroups(root fs.FS) (Cgroups, error) {
	found, err := cgroup.Find(root)
	switch {
	case err != nil:
		return Cgroups{}, err
	case found.Mode == 0:
		return Cgroups{}, fmt.Errorf("no cgroup filesystem at %s: %w", cgroup.Root, errdefs.ErrFailedPrecondition)
	case found.Mode == cgroup.V2:
		return readV2(root, found)
	}
	return readV1(root, found), nil
}

func readV2(root fs.FS, found cgroup.Hierarchies) (Cgroups, error) {
	data, err := fs.ReadFile(root, cgroupRoot+"/cgroup.controllers")
	if err != nil {
		return Cgroups{}, err
	}
	c := Cgroups{Mode: cgroup.V2, Controllers: strings.Fields(string(data))}
	c.Hugetlb = slices.Contains(c.Controllers, "hugetlb")
	for _, o := range found.Options {
		if o == "nsdelegate" || o == "memory_recursiveprot" {
			c.mountOptions = append(c.mountOptions, o)
		}
	}
	c.Swap = hasSwapV2(root, found.Own[cgroup.Unified])
	return c, nil
}

// hasSwapV2 looks for memory.swap.max in the daemon's own cgroup and in all children of the root
// cgroup. The root cgroup itself never has this file.
func hasSwapV2(root fs.FS, own string) bool {
	for _, pattern := range []string{path.Join(cgroupRoot, own, "memory.swap.max"), cgroupRoot + "/*/memory.swap.max"} {
		if found, err := fs.Glob(root, pattern); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

func readV1(root fs.FS, found cgroup.Hierarchies) Cgroups {
	c := Cgroups{Mode: found.Mode}
	for name := range found.Own {
		if name != cgroup.Unified && !strings.HasPrefix(name, "name=") {
			c.Controllers = append(c.Controllers, name)
		}
	}
	slices.Sort(c.Controllers)
	c.Hugetlb = exists(root, cgroupRoot+"/hugetlb")
	c.Swap = exists(root, cgroupRoot+"/memory/memory.memsw.limit_in_bytes")
	return c
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}
