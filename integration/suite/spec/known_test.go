// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"github.com/containerd/cgroups/v3"
	"github.com/containerd/containerd/v2/pkg/apparmor"
)

// known returns the intended differences, each with its reason. A star stands for any text, a dash
// for a missing value.
func known() []difference {
	list := append(knownNamespaces(), knownMounts()...)
	list = append(list, knownProcess()...)
	list = append(list, knownStatus()...)
	return append(list, knownRefusals()...)
}

func knownNamespaces() []difference {
	const (
		pinned = "namespaces are pinned to files, so that no process of the pod has to keep them open"
		none   = "a host namespace needs no entry; the built-in joins that of its pause process, which is the host's"
		ours   = "<root>/state/io.containerd.grpc.v1.cri/sandboxes/<pod>/ns/"
	)
	list := []difference{
		{"*", "linux.namespaces[network].path", "/proc/<pid>/ns/net", "<root>/state/io.containerd.grpc.v1.cri/netns/cni-<pod>", pinned},
		{"*", "linux.namespaces[ipc].path", "/proc/<pid>/ns/ipc", ours + "ipc", pinned},
		{"*", "linux.namespaces[uts].path", "/proc/<pid>/ns/uts", ours + "uts", pinned},
		{"*", "linux.namespaces[user].path", "/proc/<pid>/ns/user", ours + "user", pinned},
		{"own pid/pid of the pod", "linux.namespaces[pid].path", "/proc/<pid>/ns/pid", absent,
			"a pod of mode CONTAINER has no PID namespace to share; the built-in shares that of its pause process"},
	}
	for _, host := range []struct{ name, kind string }{
		{"*host network/*", "network"}, {"all of the host/*", "network"},
		{"*host network/*", "uts"}, {"all of the host/*", "uts"},
		{"host ipc/*", "ipc"}, {"all of the host/*", "ipc"},
		{"host pid/*", "pid"}, {"all of the host/*", "pid"},
	} {
		path := "linux.namespaces[" + host.kind + "]"
		list = append(list,
			difference{host.name, path + ".type", host.kind, absent, none},
			difference{host.name, path + ".path", "/proc/<pid>/ns/*", absent, none})
	}
	return list
}

func knownMounts() []difference {
	const (
		shm    = "a bind mount with options does not inherit those of its source, such as nosuid and nodev: we repeat them"
		clean  = "we write paths in their clean form"
		ipc    = "a container of a pod with the host's IPC namespace cannot have another one: it sees the host's /dev/shm"
		images = "each container has its own image mounts; the built-in mounts them once for a pod, until the pod is removed"
		lists  = "the CRI does not distinguish a missing list from an empty one: only in a user namespace it means that nothing is masked (KEP-4265)"
	)
	binds := func(name, before, after, source string) []difference {
		var list []difference
		for leaf, value := range map[string]string{
			"destination": before, "type": "bind", "options": `["rbind","rprivate","rw"]`, "source": source,
		} {
			list = append(list, difference{name, "mounts[" + before + "]." + leaf, value, absent, clean})
			if leaf != "source" {
				list = append(list, difference{name, "mounts[" + after + "]." + leaf + "*", absent, "*", clean})
			}
		}
		return list
	}
	list := []difference{
		{"*", "mounts[/dev/shm].options", `["rbind","rprivate","rw"]`, `["nodev","nosuid","rbind","rprivate","rw"]`, shm},
		{"host ipc/ipc of the pod", "mounts[/dev/shm].*", "*", "*", ipc},
		{"host ipc/ipc of the pod", "files./dev/shm", "stat shm: *", "d*", ipc},
		{"mounts/through a link", "mounts[/mnt].source", "<fixture>/link/below", "<fixture>/dir/below",
			"we resolve all links once, so that the checked path is the mounted one"},
		{"mounts/paths not clean", "mounts[/srv/x].source", absent, "<fixture>/dir/below", clean},
		{"mounts/twice at one path", "mounts[/mnt].source'", absent, "<fixture>/shared", clean},
		{"mounts/twice at one path", "hidden mounts", `["/mnt by /mnt/"]`, `["/mnt by /mnt"]`, clean},
		{"userns with host network/plain", "hidden mounts", `["/sys/fs/cgroup by /sys"]`, "[]",
			"the built-in mounts the host's /sys over the container's cgroup tree"},
		{"mounts/image*", "mounts[/mnt].source", "<root>/state/io.containerd.grpc.v1.cri/image-volumes/<pod>/<digest>*",
			"<root>/state/io.containerd.grpc.v1.cri/containers/<container>/images/0*", images},
		{"mounts/image*", "labels.containerd.io/gc.ref.snapshot.overlayfs/0", absent, "<container>-image-0", images},
		{"mounts/with options", "mounts[/mnt].options", `["rbind","rprivate","rw"]`, `["nodev","noexec","rbind","rprivate","rw"]`,
			"the built-in ignores mount_options (KEP-5855)"},
		{"*", "linux.maskedPaths", absent, `["/proc/acpi",*]`, lists},
		{"*", "linux.readonlyPaths", absent, `["/proc/bus",*]`, lists},
	}
	list = append(list, binds("mounts/paths not clean", "/mnt/../srv//x/", "/srv/x", "<fixture>/dir//below/../below/")...)
	return append(list, binds("mounts/twice at one path", "/mnt/", "/mnt", "<fixture>/shared")...)
}

func knownProcess() []difference {
	const (
		ambient = "the built-in ignores ambient capabilities (KEP-2763)"
		prefix  = "we accept CAP_NET_ADMIN and cap_chown; the built-in adds a CAP_CAP_NET_ADMIN and drops nothing"
	)
	list := []difference{
		{"process/directory not clean", "process.cwd", "/tmp//a/../b/", "/tmp/b", "we write paths in their clean form"},
		{"security/capabilities ambient", "process.capabilities.ambient", absent, `["CAP_NET_BIND_SERVICE"]`, ambient},
		{"security/capabilities ambient", "process.capabilities.inheritable", absent, `["CAP_NET_BIND_SERVICE"]`, ambient},
	}
	for _, set := range []string{"bounding", "effective", "permitted"} {
		list = append(list, difference{
			"security/capabilities in other spelling", "process.capabilities." + set,
			`*"CAP_CAP_NET_ADMIN","CAP_CHOWN",*`, `["CAP_AUDIT_WRITE","CAP_DAC_OVERRIDE",*"CAP_NET_ADMIN",*`, prefix,
		})
	}
	return list
}

func knownStatus() []difference {
	const images = "the status has the ID of a mounted image (KEP-5365) and no host path"
	return []difference{
		{"mounts/image*", "status.mounts[/mnt].image.imageRef", absent, "sha256:<digest>", images},
		{"mounts/image*", "status.mounts[/mnt].hostPath", "<root>/state/io.containerd.grpc.v1.cri/image-volumes/*", absent, images},
		{"process/image with named user", "status.stopSignal", absent, "SIGNAL_SIGINT", "an image may give its stop signal as a number"},
	}
}

// knownRefusals returns the requests that only one daemon refuses, or that both refuse with
// different codes.
func knownRefusals() []difference {
	const class = "the built-in returns such errors without a class"
	list := []difference{
		{"hostname on the host's network", refused, "Unknown", "InvalidArgument", class},
		{"security/privileged in a plain pod", refused, "Unknown", "InvalidArgument", class},
		{"mounts/recursively read-only and writable", refused, "Unknown", "InvalidArgument", class},
		{"devices/CDI, unknown", refused, "Unknown", "NotFound", class},
		{"mounts/image, a directory above", refused, "Unknown", "InvalidArgument", class},
		{"mounts/image, a missing directory", refused, "Unknown", "NotFound", class},
		{"mounts/image, a file", refused, "Unknown", absent, "the built-in mounts only directories of images"},
		{"resources/hugepages, the same size twice", refused, absent, "InvalidArgument", "it is undefined which of the two limits applies"},
		{"mounts/bidirectional without privileges", refused, absent, "InvalidArgument",
			"Kubernetes allows Bidirectional for privileged containers only: any other could mount on the node"},
		{"own pid/pid of the host", refused, absent, "InvalidArgument",
			"a container cannot have the host's PID namespace unless its pod has"},
	}
	if cgroups.Mode() != cgroups.Unified {
		list = append(list, difference{"resources/unified", refused, absent, "FailedPrecondition",
			"on cgroup v1 the built-in creates a container that runc then refuses to start"})
	}
	if !apparmor.HostSupports() {
		list = append(list, difference{"security/apparmor default", refused, "Unknown", "FailedPrecondition", class})
	}
	return list
}
