// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
)

// controllers are the v1 hierarchies in use. Processes are listed from the first one that the
// cgroup is in.
var controllers = [...]string{"freezer", "pids", "devices", "memory", "cpu", "cpuacct", "cpuset", "blkio", "hugetlb", "rdma"}

// Group is the cgroup of one container. It is stored in the bundle as JSON.
type Group struct {
	// Paths are the paths below the mount point by controller; on v2 there is one, with the key "".
	Paths map[string]string `json:"paths"`

	root string // the mount point; "" for /sys/fs/cgroup
}

// Of returns the cgroup of a process. The error is errdefs.ErrNotFound if the process is only in
// the root or in the cgroup of the shim.
func Of(pid int) (*Group, error) {
	theirs, err := cgroup.PathsOf(pid, controllers[:])
	if err != nil {
		return nil, fmt.Errorf("cgroup of process %d: %w", pid, err)
	}
	ours, err := cgroup.PathsOf(os.Getpid(), controllers[:])
	if err != nil {
		return nil, fmt.Errorf("cgroup of the shim: %w", err)
	}
	return newGroup("", theirs, ours)
}

func newGroup(root string, theirs, ours cgroup.Paths) (*Group, error) {
	g := &Group{Paths: make(map[string]string, len(theirs)), root: root}
	for name, path := range theirs {
		if path = filepath.Join("/", path); path != "/" && path != filepath.Join("/", ours[name]) {
			g.Paths[name] = path
		}
	}
	if len(g.Paths) == 0 {
		return nil, fmt.Errorf("cgroup: the container has none of its own: %w", errdefs.ErrNotFound)
	}
	return g, nil
}

// unified returns the directory of a v2 cgroup.
func (g *Group) unified() (string, bool) {
	path, ok := g.Paths[""]
	return filepath.Join(g.mount(), path), ok
}

// dir returns the directory that has the files of a controller.
func (g *Group) dir(controller string) (string, error) {
	if dir, ok := g.unified(); ok {
		return dir, nil
	}
	if path, ok := g.Paths[controller]; ok {
		return filepath.Join(g.mount(), controller, path), nil
	}
	return "", fmt.Errorf("cgroup: %s: %w", controller, errdefs.ErrNotFound)
}

// dirs returns all directories of the cgroup.
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
		return cgroup.Root
	}
	return g.root
}
