// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
)

// hostState returns all resources on the host of the kinds that a container runtime creates.
func (b *Bench) hostState() (State, error) {
	state := State{}
	for _, look := range []func(State) error{
		b.processesState, b.mountsState, b.linksState, b.cgroupsState, b.filesState, rulesState,
	} {
		if err := look(state); err != nil {
			return nil, fmt.Errorf("host state: %w", err)
		}
	}
	return state, nil
}

// processesState lists the processes that descend from the bench's daemon, without the daemon, and
// their network namespaces.
func (b *Bench) processesState(state State) error {
	pids, err := b.processes()
	if err != nil {
		return err
	}
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	for _, pid := range pids {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		state["process"] = append(state["process"], fmt.Sprintf("%d %s", pid, strings.TrimSpace(string(comm))))
		netns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil && netns != host {
			state["netns"] = append(state["netns"], netns)
		}
	}
	return nil
}

// processes returns the PIDs of the bench's processes, without the daemon.
func (b *Bench) processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		daemon := b.Daemon != nil && b.Daemon.Running() && b.Daemon.PID() == pid
		if !daemon && b.owns(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// owns reports whether a process belongs to the bench: it inherited the daemon's environment, or
// its mount namespace has a file system of the bench mounted outside the bench's root. Below the
// root it proves nothing: every service of the host whose mount namespace receives the host's
// mounts has it there. A process that exits meanwhile belongs to no bench.
func (b *Bench) owns(pid int) bool {
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if strings.Contains(string(environ), marker+"="+b.Root+"\x00") {
		return true
	}
	mine, _ := os.Readlink("/proc/self/ns/mnt")
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil || mine == theirs {
		return false
	}
	mounts, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return false
	}
	defer mounts.Close()
	name := filepath.Base(b.Root)
	found, _ := mountinfo.GetMountsFromReader(mounts, func(m *mountinfo.Info) (skip, stop bool) {
		elsewhere := !strings.Contains(m.Mountpoint, name) && strings.Contains(m.Root+m.Source+m.VFSOptions, name)
		return !elsewhere, elsewhere
	})
	return len(found) > 0
}

// mountsState lists mounts, without those of other benches.
func (b *Bench) mountsState(state State) error {
	return mountsState(state, func(place string) bool {
		return !strings.Contains(place, benchPrefix) || strings.HasPrefix(place, b.Root)
	})
}

// mountsState lists the mounts whose mount point counts.
func mountsState(state State, counts func(place string) bool) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !counts(m.Mountpoint), false })
	for _, m := range mounts {
		state["mount"] = append(state["mount"], m.Mountpoint+" "+m.FSType)
	}
	return err
}

// linksState lists network devices, without the bench's bridge: the first pod creates it and Close
// removes it.
func (b *Bench) linksState(state State) error {
	links, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) { // a device changed during the listing
		links, err = netlink.LinkList()
	}
	for _, link := range links {
		if b.Network == nil || link.Attrs().Name != b.Network.Bridge {
			state["link"] = append(state["link"], link.Type()+" "+link.Attrs().Name)
		}
	}
	return err
}

// cgroupsState lists cgroups. It leaves out a cgroup that holds a process of another program.
func (b *Bench) cgroupsState(state State) error {
	return cgroupsState(state, func(path string) bool { return !b.foreign(path) })
}

// cgroupsState lists the cgroups of pods and containers that count. Their parents do not belong to
// the runtime.
func cgroupsState(state State, counts func(path string) bool) error {
	return walk(cgroupRoot, func(path string, entry fs.DirEntry) {
		if entry.IsDir() && hasID(entry.Name()) && counts(path) {
			state["cgroup"] = append(state["cgroup"], path)
		}
	})
}

func (b *Bench) foreign(cgroup string) bool {
	procs, _ := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	for line := range strings.Lines(string(procs)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && !b.owns(pid) {
			return true
		}
	}
	return false
}

// filesState lists the files that a runtime keeps outside its database: bundles, FIFOs, sockets,
// the directories of pods and containers, CNI results and addresses reserved by host-local.
func (b *Bench) filesState(state State) error {
	kinds := map[string][]string{
		"file":    {"/run/containerd", "/run/netns", "/var/lib/cni"},
		"address": {b.Path("cni", "ipam")},
	}
	if b.Daemon != nil {
		kinds["file"] = append(kinds["file"], b.Daemon.program.folders()...)
	}
	for kind, folders := range kinds {
		if err := filesState(state, kind, folders...); err != nil {
			return err
		}
	}
	return nil
}

// filesState lists the contents of folders, without the paths that the runtime keeps by design.
func filesState(state State, kind string, folders ...string) error {
	for _, folder := range folders {
		if err := walk(folder, func(path string, entry fs.DirEntry) {
			if !keptByDesign(path, entry) {
				state[kind] = append(state[kind], path)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// keptByDesign reports whether a path is created once, on first use, and never removed.
func keptByDesign(path string, entry fs.DirEntry) bool {
	switch entry.Name() {
	case "lock", "last_reserved_ip.0", // of host-local
		"mounts.db": // of containerd since 2.2
		return true
	}
	// A directory that belongs to no pod or container is structure: containerd's and CNI's own
	// directories.
	return entry.IsDir() && !hasID(entry.Name())
}

// hasID reports whether a name contains an ID: every directory of a pod or a container does. Fewer
// than four hexadecimal digits in a row may be part of a word.
func hasID(name string) bool {
	digits := 0
	for _, run := range hexDigits.FindAllString(name, -1) {
		digits += len(run)
	}
	return digits >= 12
}

var hexDigits = regexp.MustCompile("[0-9a-f]{4,}")

func rulesState(state State) error {
	for _, command := range iptables {
		rules, err := savedRules(command)
		if err != nil {
			return err
		}
		for _, rule := range rules {
			// portmap never removes its own chains; the ones it makes for a pod (CNI-DN-…) must be
			// removed.
			if !strings.Contains(rule, portmapChain) || strings.Contains(rule, "CNI-DN-") {
				state["rule"] = append(state["rule"], command+" "+rule)
			}
		}
	}
	return nil
}

// walk calls visit for everything below root. It ignores paths that vanish meanwhile, and skips
// everything below the mount point of a container's root file system.
func walk(root string, visit func(path string, entry fs.DirEntry)) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if path == root {
			return nil
		}
		visit(path, entry)
		if entry.IsDir() && entry.Name() == "rootfs" {
			return fs.SkipDir
		}
		return nil
	})
}

// Processes returns the PIDs of the bench's processes whose name starts with name, inside and
// outside of containers. The kernel keeps 15 bytes of a process name.
func (b *Bench) Processes(name string) ([]int, error) {
	all, err := b.processes()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return !strings.HasPrefix(string(comm), name)
	}), nil
}

// AwaitProcesses waits until the bench has count processes whose name starts with name.
func (b *Bench) AwaitProcesses(ctx context.Context, name string, count int) error {
	return Await(ctx, func() error {
		pids, err := b.Processes(name)
		if err == nil && len(pids) != count {
			return fmt.Errorf("%d processes are called %s, want %d: %v", len(pids), name, count, pids)
		}
		return err
	})
}
