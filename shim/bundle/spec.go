// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// groupAnnotations name the group of tasks that share a shim, in order of precedence. The names are
// those of containerd-shim-runc-v2.
var groupAnnotations = [...]string{
	"io.containerd.runc.v2.group",
	"io.kubernetes.cri.sandbox-id",
}

// containerType is the annotation by which a CRI implementation marks the container of a pod as a
// sandbox.
const (
	containerType = "io.kubernetes.cri.container-type"
	sandbox       = "sandbox"
)

// Spec is the part of config.json (OCI runtime specification, config.md) that the shim uses.
type Spec struct {
	Annotations map[string]string `json:"annotations"`
	Process     struct {
		Args []string `json:"args"`
	} `json:"process"`
	Linux struct {
		CgroupsPath string                 `json:"cgroupsPath"`
		Namespaces  []specs.LinuxNamespace `json:"namespaces"`
		UIDMappings []specs.LinuxIDMapping `json:"uidMappings"`
		GIDMappings []specs.LinuxIDMapping `json:"gidMappings"`
	} `json:"linux"`
	Hooks struct {
		Poststart []specs.Hook `json:"poststart"`
	} `json:"hooks"`

	config []byte
}

// Config returns the content of config.json.
func (s *Spec) Config() []byte { return s.config }

// Spec reads config.json. The error is fs.ErrNotExist for a bundle without one, such as that of a
// sandbox without processes.
func (d Dir) Spec() (*Spec, error) {
	data, err := os.ReadFile(d.path("config.json"))
	if err != nil {
		return nil, fmt.Errorf("read config.json: %w", err)
	}
	s := &Spec{config: data}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read config.json: %w", err)
	}
	return s, nil
}

// Group returns the name of the task's group, or id if no annotation names one.
func (s *Spec) Group(id string) string {
	for _, name := range groupAnnotations {
		if group := s.Annotations[name]; group != "" {
			return group
		}
	}
	return id
}

// Holder reports whether the container is that of a pod without a process. It requires the
// annotation and missing args, because args alone can be missing by mistake.
func (s *Spec) Holder() bool {
	return len(s.Process.Args) == 0 && s.Annotations[containerType] == sandbox
}

// Joined returns the namespaces that exist before the container, with their paths.
func (s *Spec) Joined() []specs.LinuxNamespace {
	var joined []specs.LinuxNamespace
	for _, ns := range s.Linux.Namespaces {
		if ns.Path != "" {
			joined = append(joined, ns)
		}
	}
	return joined
}

// PrivatePids reports whether the container has a PID namespace of its own, in which the kernel
// kills all processes when the init exits.
func (s *Spec) PrivatePids() bool {
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace && ns.Path == "" {
			return true
		}
	}
	return false
}

// Root returns the user and group ids on the host to which the container's root is mapped.
func (s *Spec) Root() (uid, gid uint32) {
	return root(s.Linux.UIDMappings), root(s.Linux.GIDMappings)
}

// root returns the host id to which id 0 is mapped, or 0 without a mapping.
func root(mappings []specs.LinuxIDMapping) uint32 {
	for _, m := range mappings {
		if m.ContainerID == 0 && m.Size > 0 {
			return m.HostID
		}
	}
	return 0
}

// Poststart reports whether the spec has poststart hooks (OCI runtime specification, config.md,
// POSIX-platform Hooks).
func (s *Spec) Poststart() bool { return len(s.Hooks.Poststart) > 0 }

// ReadProcess returns the process of config.json. It does not read what follows the process:
// containerd writes the process near the beginning of the file, and each probe reads it.
func ReadProcess(d Dir) (*specs.Process, error) {
	file, err := os.Open(d.path("config.json"))
	if err != nil {
		return nil, fmt.Errorf("read config.json: %w", err)
	}
	defer file.Close()
	process, err := findProcess(json.NewDecoder(file))
	if err != nil {
		return nil, fmt.Errorf("read config.json: process: %w", err)
	}
	return process, nil
}

// findProcess decodes the member process of an object.
func findProcess(spec *json.Decoder) (*specs.Process, error) {
	if _, err := spec.Token(); err != nil { // the opening brace
		return nil, err
	}
	for spec.More() {
		key, err := spec.Token()
		if err != nil {
			return nil, err
		}
		if key == "process" {
			process := &specs.Process{}
			return process, spec.Decode(process)
		}
		var other json.RawMessage
		if err := spec.Decode(&other); err != nil {
			return nil, err
		}
	}
	return nil, errdefs.ErrNotFound
}
