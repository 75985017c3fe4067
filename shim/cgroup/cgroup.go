// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

const mountpoint = "/sys/fs/cgroup"

// controllers are the hierarchies of v1 that are used, those by which
// processes are found first.
var controllers = [...]string{"freezer", "pids", "devices", "memory", "cpu", "cpuacct", "cpuset", "blkio", "hugetlb", "rdma"}

// Group is the control group of one container. It can be stored as JSON.
type Group struct {
	// Paths are the directories below the mount point, by controller.
	// On v2 there is one, under "".
	Paths map[string]string `json:"paths"`

	root string // the mount point; "" is the usual one
}

// Of returns the group of a process. The error is errdefs.ErrNotFound if the
// process has none that is its own.
func Of(pid int) (*Group, error) {
	theirs, err := pathsOf(pid)
	if err != nil {
		return nil, fmt.Errorf("control group of process %d: %w", pid, err)
	}
	ours, err := pathsOf(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("control group of the shim: %w", err)
	}
	return newGroup("", theirs, ours)
}

func newGroup(root string, theirs, ours map[string]string) (*Group, error) {
	g := &Group{Paths: make(map[string]string, len(theirs)), root: root}
	for name, path := range theirs {
		if path = filepath.Join("/", path); path != "/" && path != filepath.Join("/", ours[name]) {
			g.Paths[name] = path
		}
	}
	if len(g.Paths) == 0 {
		return nil, fmt.Errorf("control group: the container has none of its own: %w", errdefs.ErrNotFound)
	}
	return g, nil
}

// unified returns the directory of a v2 group.
func (g *Group) unified() (string, bool) {
	path, ok := g.Paths[""]
	return filepath.Join(g.mount(), path), ok
}

// dir returns the directory in which a controller's files are.
func (g *Group) dir(controller string) (string, error) {
	if dir, ok := g.unified(); ok {
		return dir, nil
	}
	if path, ok := g.Paths[controller]; ok {
		return filepath.Join(g.mount(), controller, path), nil
	}
	return "", fmt.Errorf("control group: %s: %w", controller, errdefs.ErrNotFound)
}

// dirs returns every directory of the group.
func (g *Group) dirs() []string {
	if dir, ok := g.unified(); ok {
		return []string{dir}
	}
	var dirs []string
	for _, name := range controllers {
		if path, ok := g.Paths[name]; ok {
			dirs = append(dirs, filepath.Join(g.mount(), name, path))
		}
	}
	return dirs
}

func (g *Group) mount() string {
	if g.root == "" {
		return mountpoint
	}
	return g.root
}
