// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// state is the part of runc's state file (libcontainer, State) that says what a container has
// beside its processes.
type state struct {
	CgroupPaths map[string]string `json:"cgroup_paths"` // by controller
	Rootless    bool              `json:"rootless"`
	Config      struct {
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
		Cgroups struct {
			Systemd bool `json:"Systemd"`
		} `json:"cgroups"`
		Hooks           map[string]json.RawMessage `json:"Hooks"`
		IntelRdt        json.RawMessage            `json:"intel_rdt"`
		RootlessEUID    bool                       `json:"rootless_euid"`
		RootlessCgroups bool                       `json:"rootless_cgroups"`
	} `json:"config"`
}

// readState reads runc's state of a container. The error is errors.ErrUnsupported for another
// runtime.
func (r *Runtime) readState(id string) (*state, error) {
	if err := r.requireRunc(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(r.cli.Root, id, stateFile))
	if err != nil {
		return nil, fmt.Errorf("state of runc: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("state of runc: %w", err)
	}
	return s, nil
}

// Cgroups returns the directories of a container's cgroup by controller; on cgroup v2 there is one,
// with the key "". runc moves a new process of the container to them (libcontainer, state.json).
// The error is errors.ErrUnsupported for another runtime.
func (r *Runtime) Cgroups(id string) (map[string]string, error) {
	s, err := r.readState(id)
	if err != nil {
		return nil, err
	}
	return s.CgroupPaths, nil
}
