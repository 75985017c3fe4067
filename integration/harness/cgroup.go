// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// MakeCgroup makes a cgroup of the bench in every hierarchy of the machine and returns its path in them. Close
// removes it with everything in it.
func (b *Bench) MakeCgroup() (string, error) {
	roots, err := hierarchies()
	if err != nil {
		return "", err
	}
	for _, root := range roots {
		if err := os.Mkdir(filepath.Join(root, b.cgroup()), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("cgroup of the bench: %w", err)
		}
	}
	return "/" + b.cgroup(), nil
}

// cgroup is named as the bridge, so that the owner file names both.
func (b *Bench) cgroup() string { return b.Network.Bridge }

// hierarchies returns where cgroup v2, or each controller of cgroup v1, is mounted.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(cgroupRoot + "/cgroup.procs"); err == nil {
		return []string{cgroupRoot}, nil
	}
	procs, err := filepath.Glob(cgroupRoot + "/*/cgroup.procs")
	for i, file := range procs {
		procs[i] = filepath.Dir(file)
	}
	return procs, err
}

// ownCgroups returns the cgroups that [Bench.MakeCgroup] made and those below, parents first.
func (b *Bench) ownCgroups() ([]string, error) {
	roots, err := hierarchies()
	if err != nil || b.Network == nil {
		return nil, err
	}
	var found []string
	for _, root := range roots {
		tree, err := cgroupTree(filepath.Join(root, b.cgroup()))
		if err != nil {
			return nil, err
		}
		found = append(found, tree...)
	}
	return found, nil
}

// containerCgroups returns the cgroups of containerd's namespaces, parents first. runc makes the parent of a
// container's cgroup and keeps it.
func containerCgroups() ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, root := range roots {
		for _, namespace := range []string{Namespace, "default"} {
			tree, err := cgroupTree(filepath.Join(root, namespace))
			if err != nil {
				return nil, err
			}
			found = append(found, tree...)
		}
	}
	return found, nil
}

// cgroupTree returns a cgroup and all below it, parents first; nothing when there is none.
func cgroupTree(top string) ([]string, error) {
	if _, err := os.Stat(top); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	found := []string{top}
	err := walk(top, func(path string, entry fs.DirEntry) {
		if entry.IsDir() {
			found = append(found, path)
		}
	})
	return found, err
}

// sweepCgroups removes the cgroups that the bench caused. One that has processes stays.
func (b *Bench) sweepCgroups() error {
	now, err := containerCgroups()
	if err != nil {
		return err
	}
	now = slices.DeleteFunc(now, func(dir string) bool { return slices.Contains(b.cgroups, dir) })
	own, err := b.ownCgroups()
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(append(now, own...)) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("sweep: cgroup %s: %w", dir, err)
		}
	}
	return nil
}
