// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path/filepath"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func mounts(list ...*runtimeapi.Mount) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { c.Mounts = list }
}

// mountCases are about mounts.
func mountCases(f fixture) []podCase {
	privileged := func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true }
	asRoot := func(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.Privileged = true }
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}}
	return []podCase{
		{name: "mounts", containers: slices.Concat(plainMounts(f), covering(f), imageMounts())},
		{name: "mounts, privileged", change: privileged, containers: []containerCase{
			{name: "bidirectional", change: func(c *runtimeapi.ContainerConfig) {
				asRoot(c)
				mounts(&runtimeapi.Mount{HostPath: f.shared, ContainerPath: "/mnt", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL})(c)
			}},
			{name: "bidirectional beside slave", change: func(c *runtimeapi.ContainerConfig) {
				asRoot(c)
				mounts(
					&runtimeapi.Mount{HostPath: f.shared, ContainerPath: "/shared", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL},
					&runtimeapi.Mount{HostPath: f.slave, ContainerPath: "/slave", Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
				)(c)
			}},
			{name: "cgroup tree", change: func(c *runtimeapi.ContainerConfig) {
				asRoot(c)
				mounts(&runtimeapi.Mount{HostPath: "/sys/fs/cgroup", ContainerPath: "/sys/fs/cgroup"})(c)
			}},
		}},
		{name: "mounts, userns", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.NamespaceOptions = userNamespace(modePod)
		}, containers: []containerCase{
			{name: "mapped", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", UidMappings: ids, GidMappings: ids})},
			{name: "not mapped", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", Readonly: true})},
		}},
	}
}

func plainMounts(f fixture) []containerCase {
	const slave = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	return []containerCase{
		{name: "directory", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt"})},
		{name: "file", change: mounts(&runtimeapi.Mount{HostPath: f.file, ContainerPath: "/mnt/file"})},
		{name: "read-only", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", Readonly: true})},
		{name: "recursively read-only", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", Readonly: true, RecursiveReadOnly: true})},
		{name: "recursively read-only and writable", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", RecursiveReadOnly: true})},
		{name: "slave", change: mounts(&runtimeapi.Mount{HostPath: f.shared, ContainerPath: "/mnt", Propagation: slave})},
		{name: "slave of a slave", change: mounts(&runtimeapi.Mount{HostPath: f.slave, ContainerPath: "/mnt", Propagation: slave, Readonly: true})},
		{name: "slave below a shared mount", change: mounts(&runtimeapi.Mount{HostPath: filepath.Join(f.shared, "below"), ContainerPath: "/mnt", Propagation: slave})},
		{name: "bidirectional without privileges", change: mounts(&runtimeapi.Mount{
			HostPath: f.shared, ContainerPath: "/mnt", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL,
		})},
		{name: "through a link", change: mounts(&runtimeapi.Mount{HostPath: filepath.Join(f.link, "below"), ContainerPath: "/mnt"})},
		{name: "source missing", change: mounts(&runtimeapi.Mount{HostPath: filepath.Join(f.dir, "made", "here"), ContainerPath: "/mnt"})},
		{name: "with options", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", MountOptions: []string{"noexec", "nodev"}})},
		{name: "relabel without SELinux", change: mounts(&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt", SelinuxRelabel: true})},
		{name: "paths not clean", change: mounts(&runtimeapi.Mount{HostPath: f.dir + "//below/../below/", ContainerPath: "/mnt/../srv//x/"})},
		{name: "nested, parent last", change: mounts(
			&runtimeapi.Mount{HostPath: f.file, ContainerPath: "/mnt/below/file"},
			&runtimeapi.Mount{HostPath: filepath.Join(f.dir, "below"), ContainerPath: "/mnt/below", Readonly: true},
			&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt"},
		)},
		{name: "twice at one path", change: mounts(
			&runtimeapi.Mount{HostPath: f.dir, ContainerPath: "/mnt"}, &runtimeapi.Mount{HostPath: f.shared, ContainerPath: "/mnt/"},
		)},
	}
}

// imageMounts are mounts of images.
func imageMounts() []containerCase {
	mount := func(m *runtimeapi.Mount) func(*runtimeapi.ContainerConfig) {
		m.ContainerPath, m.Readonly, m.Image = "/mnt", true, &runtimeapi.ImageSpec{Image: image.Busybox}
		return mounts(m)
	}
	return []containerCase{
		{name: "image", change: mount(&runtimeapi.Mount{})},
		{name: "image, a directory", change: mount(&runtimeapi.Mount{ImageSubPath: "etc"})},
		{name: "image, a missing directory", change: mount(&runtimeapi.Mount{ImageSubPath: "absent"})},
		{name: "image, a directory above", change: mount(&runtimeapi.Mount{ImageSubPath: "../etc"})},
		{name: "image, a file", change: mount(&runtimeapi.Mount{ImageSubPath: "etc/passwd"})},
	}
}

// covering are mounts over paths that the runtime mounts itself.
func covering(f fixture) []containerCase {
	over := func(host, container string) func(*runtimeapi.ContainerConfig) {
		return mounts(&runtimeapi.Mount{HostPath: host, ContainerPath: container})
	}
	return []containerCase{
		{name: "over /etc/hosts", change: over(f.file, "/etc/hosts")},
		{name: "over /etc/hostname", change: over(f.file, "/etc/hostname")},
		{name: "over /etc/resolv.conf", change: over(f.file, "/etc/resolv.conf")},
		{name: "over /etc", change: over(f.dir, "/etc")},
		{name: "over /dev/shm", change: over(f.dir, "/dev/shm")},
		{name: "over /dev", change: over("/dev", "/dev")},
		{name: "over /dev/mqueue", change: over(f.dir, "/dev/mqueue")},
		{name: "over /sys", change: over("/sys", "/sys")},
		{name: "over /sys/fs/cgroup", change: over("/sys/fs/cgroup", "/sys/fs/cgroup")},
		{name: "over /proc", change: over("/proc", "/proc")},
		{name: "over /run", change: over(f.dir, "/run")},
		{name: "below /dev", change: over(f.file, "/dev/termination-log")},
		{name: "over an image volume", image: dressed, change: over(f.dir, "/var/data")},
		{name: "below an image volume", image: dressed, change: over(f.dir, "/var/data/sub")},
		{name: "with a read-only root", image: dressed, change: func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.ReadonlyRootfs = true
			over(f.file, "/etc/hosts")(c)
		}},
	}
}
