// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Paths are the directories of the plugin. The built-in CRI uses the same, with the same layout.
type Paths struct {
	Root  string // for files that survive a reboot
	State string // for mounts, and files that do not survive a reboot
}

const (
	podsDir       = "sandboxes"
	containersDir = "containers"
)

// Pod returns the directories of a pod.
func (p Paths) Pod(id string) Pod {
	return Pod{Root: filepath.Join(p.Root, podsDir, id), State: filepath.Join(p.State, podsDir, id)}
}

// PodIDs returns the IDs of the pods that have a directory in Root.
func (p Paths) PodIDs() ([]string, error) { return names(filepath.Join(p.Root, podsDir)) }

// Container returns the directories of a container.
func (p Paths) Container(id string) Container {
	return Container{Root: filepath.Join(p.Root, containersDir, id), State: filepath.Join(p.State, containersDir, id)}
}

// ContainerIDs returns the IDs of the containers that have a directory in Root or State.
func (p Paths) ContainerIDs() ([]string, error) {
	return names(filepath.Join(p.Root, containersDir), filepath.Join(p.State, containersDir))
}

// NetNS returns the directory of pinned network namespaces if config.toml sets
// netns_mounts_under_state_dir.
func (p Paths) NetNS() string { return filepath.Join(p.State, "netns") }

// ImageVolumes returns the directory in which the built-in CRI mounts images for a pod.
func (p Paths) ImageVolumes(podID string) string {
	return filepath.Join(p.State, "image-volumes", podID)
}

// Shims returns the directory of the sockets of the shims that the plugin starts.
func (p Paths) Shims() string { return filepath.Join(p.State, "shims") }

// Containerd returns containerd's own root directory.
func (p Paths) Containerd() string { return filepath.Dir(p.Root) }

// Content returns the directory of containerd's content store.
func (p Paths) Content() string {
	return filepath.Join(p.Containerd(), "io.containerd.content.v1.content")
}

// Bundles returns containerd's directory for the bundles of the tasks in a namespace, and that for
// their work directories.
func (p Paths) Bundles(namespace string) (bundles, work string) {
	const tasks = "io.containerd.runtime.v2.task"
	return filepath.Join(filepath.Dir(p.State), tasks, namespace), filepath.Join(p.Containerd(), tasks, namespace)
}

// Pod are the directories of a pod.
type Pod struct{ Root, State string }

// Hostname returns the path of the pod's /etc/hostname.
func (p Pod) Hostname() string { return filepath.Join(p.Root, "hostname") }

// Hosts returns the path of the pod's /etc/hosts.
func (p Pod) Hosts() string { return filepath.Join(p.Root, "hosts") }

// ResolvConf returns the path of the pod's /etc/resolv.conf.
func (p Pod) ResolvConf() string { return filepath.Join(p.Root, "resolv.conf") }

// Shm returns the mount point of the pod's /dev/shm.
func (p Pod) Shm() string { return filepath.Join(p.State, "shm") }

// Namespaces returns the directory in which the pod's namespaces are pinned, except the network
// namespace.
func (p Pod) Namespaces() string { return filepath.Join(p.State, "ns") }

// PinnedUser returns the path at which the built-in CRI pins the pod's user namespace.
func (p Pod) PinnedUser() string { return filepath.Join(p.State, "pinned-namespaces", "user") }

// Init returns the directory that is the root file system of the pod's init.
func (p Pod) Init() string { return filepath.Join(p.State, "init") }

// Container are the directories of a container.
type Container struct{ Root, State string }

// Volumes returns the directory of the copies of the volumes that the image defines.
func (c Container) Volumes() string { return filepath.Join(c.Root, "volumes") }

// Images returns the directory of the mounted images.
func (c Container) Images() string { return filepath.Join(c.State, "images") }

// Status returns the file in which the built-in CRI saves the state of the container.
func (c Container) Status() string { return filepath.Join(c.Root, "status") }

// IO returns the directory of the pipes.
func (c Container) IO() string { return filepath.Join(c.State, "io") }

// names returns the sorted names in directories, each once. Directories that do not exist are
// empty.
func names(dirs ...string) ([]string, error) {
	var all []string
	var errs []error
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		errs = append(errs, err)
		for _, entry := range entries {
			all = append(all, entry.Name())
		}
	}
	slices.Sort(all)
	return slices.Compact(all), errors.Join(errs...)
}
