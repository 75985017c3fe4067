// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// rootfs is the directory of the bundle where containerd mounts the root filesystem.
const rootfs = "rootfs"

// template returns the spec that the steps of [Container] start from: the handler's base spec, or
// the default.
func template(in *Input) (*specs.Spec, error) {
	s := defaultSpec(in.Facts)
	if base := in.Handler.BaseSpec; base != nil {
		c, err := clone(base)
		if err != nil {
			return nil, fmt.Errorf("base runtime spec: %w", err)
		}
		s = c
		addMissingSections(s)
	}
	s.Version = ociVersion(in.Facts.OCIVersion)
	s.Root.Path = rootfs
	// Keep /run of the image visible: Kubernetes containers never had a tmpfs there.
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/run" })
	return s, nil
}

// addMissingSections adds the sections that the steps write to.
func addMissingSections(s *specs.Spec) {
	if s.Process == nil {
		s.Process = &specs.Process{}
	}
	if s.Process.Capabilities == nil {
		s.Process.Capabilities = &specs.LinuxCapabilities{}
	}
	if s.Root == nil {
		s.Root = &specs.Root{}
	}
	if s.Linux == nil {
		s.Linux = &specs.Linux{}
	}
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	if !hasNamespace(s, specs.MountNamespace) {
		setNamespace(s, specs.MountNamespace, "")
	}
}

// defaultSpec returns containerd's default spec without its limits on file descriptors: Kubernetes
// containers inherit those of the daemon.
func defaultSpec(facts Facts) *specs.Spec {
	return &specs.Spec{
		Root: &specs.Root{},
		Process: &specs.Process{
			Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding:  defaultCapabilities(),
				Effective: defaultCapabilities(),
				Permitted: defaultCapabilities(),
			},
		},
		Mounts: defaultMounts(),
		Linux: &specs.Linux{
			MaskedPaths:   slices.Clone(facts.MaskedPaths),
			ReadonlyPaths: slices.Clone(facts.ReadonlyPaths),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace},
			},
			Resources: &specs.LinuxResources{
				Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: allAccess}},
			},
		},
	}
}

func defaultMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{
			"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
		}},
		{Destination: devShm, Type: "tmpfs", Source: "shm", Options: []string{
			"nosuid", "noexec", "nodev", "mode=1777", "size=65536k",
		}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
}

// fallbackVersion is the ociVersion for a runtime that does not report which versions it accepts.
// `<runtime> features` came with 1.1, so such a runtime is older; crun 1.8.1, for example, refuses
// 1.2 and above. Newer runtimes accept 1.0.2, too, and ignore no field because of it.
const fallbackVersion = "1.0.2"

// ociVersion returns the version to write into a spec for a runtime that accepts versions up to
// newest. Some runtimes, such as crun, refuse a spec with a newer minor version, even if it uses no
// feature of that version.
func ociVersion(newest string) string {
	var have, want [3]int
	if _, err := fmt.Sscanf(newest, "%d.%d.%d", &have[0], &have[1], &have[2]); err != nil {
		return fallbackVersion
	}
	if _, err := fmt.Sscanf(specs.Version, "%d.%d.%d", &want[0], &want[1], &want[2]); err != nil {
		return specs.Version
	}
	if slices.Compare(have[:], want[:]) < 0 {
		return newest
	}
	return specs.Version
}

// clone returns a deep copy of v. The types of the runtime spec survive encoding as JSON.
func clone[T any](v *T) (*T, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	c := new(T)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, err
	}
	return c, nil
}
