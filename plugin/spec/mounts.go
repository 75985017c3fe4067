// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	devShm     = "/dev/shm"
	cgroupRoot = "/sys/fs/cgroup"
)

// mounts writes the mounts in the order in which the runtime performs them: pseudo filesystems, the
// cgroup tree, then all bind mounts. Parents precede children, so that no mount hides another.
func (b *builder) mounts() error {
	binds, err := b.requestedMounts()
	if err != nil {
		return err
	}
	taken := destinations(binds)
	binds = append(binds, b.volumeMounts()...)
	for _, m := range b.podFileMounts() {
		if !taken[m.Destination] {
			binds = append(binds, m)
		}
	}
	slices.SortStableFunc(binds, func(x, y specs.Mount) int { return depth(x.Destination) - depth(y.Destination) })

	taken = destinations(binds)
	pseudo := slices.DeleteFunc(b.pseudoMounts(), func(m specs.Mount) bool {
		return taken[m.Destination] || taken["/dev"] && strings.HasPrefix(m.Destination, "/dev/")
	})
	b.spec.Mounts = append(pseudo, binds...)
	return nil
}

func depth(destination string) int {
	return strings.Count(destination, "/")
}

func destinations(mounts []specs.Mount) map[string]bool {
	set := make(map[string]bool, len(mounts))
	for _, m := range mounts {
		set[m.Destination] = true
	}
	return set
}

// pseudoMounts returns the template's mounts, adapted to this container, and the cgroup mount.
func (b *builder) pseudoMounts() []specs.Mount {
	var mounts []specs.Mount
	for _, m := range b.spec.Mounts {
		m.Destination = path.Clean(m.Destination)
		switch {
		case m.Destination == cgroupRoot:
			continue
		case m.Destination == "/sys" && b.bindsSys():
			m = sysBindMount()
		case m.Type == "sysfs" && b.sc.GetPrivileged():
			m.Options = writable(m.Options)
		}
		mounts = append(mounts, m)
	}
	return append(mounts, b.cgroupMount())
}

// bindsSys reports whether /sys must be a bind mount of the host's: in a user namespace the kernel
// mounts sysfs only for a network namespace that this user namespace owns, and it does not own the
// host's.
func (b *builder) bindsSys() bool {
	return !b.ids.empty() && b.podSecurity().GetNamespaceOptions().GetNetwork() == modeNode
}

func sysBindMount() specs.Mount {
	return specs.Mount{
		Destination: "/sys",
		Type:        "bind",
		Source:      "/sys",
		Options:     []string{"rbind", "rro", "nosuid", "nodev", "noexec"},
	}
}

func (b *builder) cgroupMount() specs.Mount {
	options := []string{"nosuid", "noexec", "nodev", "relatime", "ro"}
	if b.sc.GetPrivileged() || b.in.Handler.CgroupWritable {
		options = writable(options)
	}
	if !hasNamespace(b.spec, specs.CgroupNamespace) {
		options = append(options, b.in.Facts.CgroupMountOptions...)
	}
	return specs.Mount{Destination: cgroupRoot, Type: "cgroup", Source: "cgroup", Options: options}
}

func writable(options []string) []string {
	options = slices.Clone(options)
	for i, o := range options {
		if o == "ro" {
			options[i] = "rw"
		}
	}
	return options
}

// podFileMounts returns the mounts of the files that the containers of a pod share. The files
// belong to the pod, so they may be id-mapped and written by root of the container. /dev/shm is a
// tmpfs that all users may write, and needs no mapping. Its options are repeated, because a bind
// mount with options loses those of its source. noexec is not among them, because the built-in CRI
// lets programs map /dev/shm as executable.
func (b *builder) podFileMounts() []specs.Mount {
	access := "rw"
	if b.sc.GetReadonlyRootfs() {
		access = "ro"
	}
	files := b.in.Pod.Files
	var mounts []specs.Mount
	for _, f := range []struct{ source, destination, access string }{
		{files.Hostname, "/etc/hostname", access},
		{files.Hosts, "/etc/hosts", access},
		{files.ResolvConf, "/etc/resolv.conf", access},
		{files.Shm, devShm, "rw"},
	} {
		if f.source == "" {
			continue
		}
		m := bind(f.source, f.destination, "rprivate", f.access)
		if f.destination == devShm {
			m.Options = append(m.Options, "nosuid", "nodev")
		} else {
			m.UIDMappings, m.GIDMappings = b.ids.uids, b.ids.gids
		}
		mounts = append(mounts, m)
	}
	return mounts
}

func (b *builder) volumeMounts() []specs.Mount {
	var mounts []specs.Mount
	for _, v := range b.in.Volumes {
		m := bind(v.Source, path.Join("/", v.Destination), "rprivate", "rw")
		m.UIDMappings, m.GIDMappings = b.ids.uids, b.ids.gids
		mounts = append(mounts, m)
	}
	return mounts
}

func bind(source, destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "bind", Source: source, Options: append([]string{"rbind"}, options...)}
}
