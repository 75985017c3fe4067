// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	cgroupname "github.com/containerd-lite/containerd-lite/internal/cgroup"
)

const cgroupRoot = "/sys/fs/cgroup"

// CgroupFile returns the path of a control file of a cgroup, which is given as in an OCI spec or in
// a pod's cgroup_parent. v2 is the file name on cgroup v2; v1 includes the controller, as in
// memory/memory.limit_in_bytes.
func CgroupFile(cgroup, v1, v2 string) string {
	cgroup = cgroupname.Expand(cgroup)
	if unified() {
		return filepath.Join(cgroupRoot, cgroup, v2)
	}
	controller, file, _ := strings.Cut(v1, "/")
	return filepath.Join(cgroupRoot, controller, cgroup, file)
}

// ContainerCgroup returns the cgroup path of a container of a pod, relative to the hierarchy.
func (o Options) ContainerCgroup(pod *runtimeapi.PodSandboxConfig, id string) string {
	parent := pod.Linux.CgroupParent
	if o.CgroupDriver == Systemd {
		return cgroupname.Expand(path.Base(parent) + ":cri-containerd:" + id)
	}
	return path.Join(parent, id)
}

// podCgroup returns the cgroup_parent of a pod. The name of a slice contains the names of its
// parents, separated by dashes.
func (o Options) podCgroup(pod string) string {
	if o.CgroupDriver == Systemd {
		return "/" + containerSlice + "/" + Namespace + "-pod_" + strings.ReplaceAll(pod, "-", "_") + ".slice"
	}
	return "/" + Namespace + "/pod-" + pod
}

// containerSlice is the slice of the CRI's namespace with the systemd driver.
const containerSlice = Namespace + ".slice"

// MakeCgroup creates a cgroup of the bench in every hierarchy of the host and returns its path in
// them, in the form that the kubelet uses with either driver. Close removes it with everything in
// it.
func (b *Bench) MakeCgroup() (string, error) {
	if unified() {
		if err := enableControllers(); err != nil {
			return "", fmt.Errorf("cgroup of the bench: %w", err)
		}
	}
	if b.CgroupDriver == Systemd {
		return "/" + b.cgroup(), systemctl("start", b.cgroup()+".slice")
	}
	roots, err := hierarchies()
	if err != nil {
		return "", err
	}
	for _, root := range roots {
		if err := os.Mkdir(filepath.Join(root, b.cgroup()), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("cgroup of the bench: %w", err)
		}
	}
	return "/" + b.cgroup(), nil
}

// enableControllers enables all available controllers for the top-level cgroups, as a runtime does
// when it creates its first container: the kubelet requires them in the cgroup that it gets, and
// systemd enables only some.
func enableControllers() error {
	all, err := os.ReadFile(cgroupRoot + "/cgroup.controllers")
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(all)) {
		if err := os.WriteFile(cgroupRoot+"/cgroup.subtree_control", []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("enable %s: %w", controller, err)
		}
	}
	return nil
}

func systemctl(verb, unit string) error {
	if out, err := exec.Command("systemctl", verb, unit).CombinedOutput(); err != nil {
		return fmt.Errorf("systemctl %s %s: %w: %s", verb, unit, err, out)
	}
	return nil
}

// cgroup returns the name of the bench's cgroup. It is the bridge's name, so that the owner file
// names both.
func (b *Bench) cgroup() string { return b.Network.Bridge }

// unified reports whether the host has only cgroup v2.
func unified() bool { return cgroups.Mode() == cgroups.Unified }

// hierarchies returns the mount points of cgroup v2, or of each controller of cgroup v1.
func hierarchies() ([]string, error) {
	if unified() {
		return []string{cgroupRoot}, nil
	}
	procs, err := filepath.Glob(cgroupRoot + "/*/cgroup.procs")
	for i, file := range procs {
		procs[i] = filepath.Dir(file)
	}
	return procs, err
}

// ownCgroups returns the cgroups that [Bench.MakeCgroup] created and those below them, parents
// first.
func (b *Bench) ownCgroups() ([]string, error) {
	if b.Network == nil {
		return nil, nil
	}
	return cgroupTrees(b.cgroup(), b.cgroup()+".slice")
}

// containerCgroups returns the cgroups of containerd's namespaces, parents first. runc creates the
// parent of a container's cgroup and does not remove it.
func containerCgroups() ([]string, error) { return cgroupTrees(Namespace, "default", containerSlice) }

// cgroupTrees returns the top-level cgroups with these names in each hierarchy and all cgroups
// below them, parents first.
func cgroupTrees(names ...string) ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, root := range roots {
		for _, name := range names {
			tree, err := cgroupTree(filepath.Join(root, name))
			if err != nil {
				return nil, err
			}
			found = append(found, tree...)
		}
	}
	return found, nil
}

// cgroupTree returns a cgroup and all cgroups below it, parents first. It returns nil if top does
// not exist.
func cgroupTree(top string) ([]string, error) {
	if _, err := os.Stat(top); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	found := []string{top}
	err := walk(top, func(path string, entry fs.DirEntry) {
		if entry.IsDir() {
			found = append(found, path)
		}
	})
	return found, err
}

// sweepCgroups removes the cgroups that the bench caused. A cgroup that has processes is kept.
func (b *Bench) sweepCgroups() error {
	now, err := containerCgroups()
	if err != nil {
		return err
	}
	now = slices.DeleteFunc(now, func(dir string) bool { return slices.Contains(b.cgroups, dir) })
	own, err := b.ownCgroups()
	if err != nil {
		return err
	}
	all := append(now, own...)
	for _, dir := range all {
		// Stopping a slice makes systemd remove everything in it. If another program removes the
		// cgroup, systemd believes that it still exists.
		if filepath.Dir(dir) == cgroupRoot && strings.HasSuffix(dir, ".slice") {
			if err := systemctl("stop", filepath.Base(dir)); err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
	for _, dir := range slices.Backward(all) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("sweep: cgroup %s: %w", dir, err)
		}
	}
	return nil
}
