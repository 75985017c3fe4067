// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd-lite/containerd-lite/internal/cgrouppath"
)

// Plan returns the group that the cgroupsPath of an OCI spec names, in every
// hierarchy that is used here. It makes nothing. A scope of systemd is planned
// as a plain group where systemd would have it: a scope needs a process.
func Plan(cgroupsPath string) (*Group, error) {
	ours, err := pathsOf(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("control group of the shim: %w", err)
	}
	return plan("", cgrouppath.Expand(cgroupsPath), ours)
}

// plan resolves a relative path as runc does: below the group of the shim, and
// on v2, where a group with processes has no children with controllers, beside it.
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

// Make makes the group, and on v2 gives it the controllers of the host as far as
// they can be had. One that exists is fine.
func (g *Group) Make() error {
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, os.MkdirAll(dir, 0o755))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make control group: %w", err)
	}
	_ = g.EnableControllers() // what is missing is missing in the statistics
	return nil
}
