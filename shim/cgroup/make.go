// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
)

// Plan returns the cgroup that the cgroupsPath of an OCI spec names, in every hierarchy that this
// package uses. It does not create the cgroup. A systemd scope becomes a plain cgroup at the path
// that systemd would use, because a scope needs a process.
func Plan(cgroupsPath string) (*Group, error) {
	ours, err := cgroup.PathsOf(os.Getpid(), controllers[:])
	if err != nil {
		return nil, fmt.Errorf("cgroup of the shim: %w", err)
	}
	return plan("", cgroup.Expand(cgroupsPath), ours)
}

func plan(root, path string, ours cgroup.Paths) (*Group, error) {
	theirs := make(cgroup.Paths, len(ours))
	for controller := range ours {
		theirs[controller] = ours.Resolve(controller, path)
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
