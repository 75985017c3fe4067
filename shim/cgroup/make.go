// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd-lite/containerd-lite/internal/cgrouppath"
)

// Plan returns the cgroup that the cgroupsPath of an OCI spec names, in every hierarchy that this
// package uses. It does not create the cgroup. A systemd scope becomes a plain cgroup at the path
// that systemd would use, because a scope needs a process.
func Plan(cgroupsPath string) (*Group, error) {
	ours, err := pathsOf(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("cgroup of the shim: %w", err)
	}
	return plan("", cgrouppath.Expand(cgroupsPath), ours)
}

// plan resolves a relative path as runc does: on v1 below the cgroup of the shim, on v2 below the
// parent of that cgroup. On v2 a cgroup that has processes cannot enable controllers for its
// children.
func plan(root, path string, ours map[string]string) (*Group, error) {
	theirs := make(map[string]string, len(ours))
	for controller, base := range ours {
		switch {
		case filepath.IsAbs(path):
			base = "/"
		case controller == "":
			base = filepath.Dir(base)
		}
		theirs[controller] = filepath.Join(base, path)
	}
	return newGroup(root, theirs, ours)
}

// Make creates the cgroup if it does not exist, and on v2 enables those controllers of the host
// that the kernel accepts.
func (g *Group) Make() error {
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, os.MkdirAll(dir, 0o755))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	_ = g.EnableControllers() // best effort: the statistics lack what a missing controller counts
	return nil
}
