// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/cgrouppath"
)

// maxCgroups is how many cgroups of a container are looked at for processes.
const maxCgroups = 256

// maxDescriptors is how many open files of a cgroup are looked at: each costs a
// system call. What has more has neither its files nor its sockets counted.
const maxDescriptors = 1 << 14

// processReadings are what /proc tells about the processes of a cgroup, without
// those of cgroups below it, as cAdvisor counts them.
type processReadings struct {
	count, files, sockets num
	maxOpenFiles          num // soft limit of the init
}

// processesDir is the directory of a cgroup that lists all of its processes.
func (r *Reader) processesDir(cgroup string) string {
	controller := unified
	if !r.isV2() {
		controller = "pids"
	}
	return r.cgroups.dir(controller, cgrouppath.Expand(cgroup))
}

// countProcesses counts the processes of a cgroup and of those below it, which an
// init system in a container makes; pids.current counts threads. It is nil for
// what has too many cgroups or processes to count them.
func (r *Reader) countProcesses(cgroup string) num {
	var count uint64
	dirs := []string{r.processesDir(cgroup)}
	for i := 0; i < len(dirs); i++ {
		n, inner := r.listedProcesses(dirs[i])
		if n == nil && i > 0 && !exists(dirs[i]) {
			continue // it was removed since
		}
		if dirs = append(dirs, inner...); n == nil || len(dirs) > maxCgroups {
			return nil
		}
		count += n.Value
	}
	return value(count)
}

// listedProcesses counts the processes in a directory of a cgroup, and returns the
// directories in it.
func (r *Reader) listedProcesses(path string) (n num, inner []string) {
	r.buffers.below(path, func(d dir) {
		var info unix.Stat_t
		content, ok := d.read("cgroup.procs")
		if !ok || len(content) >= maxFile-1 || unix.Stat(path, &info) != nil {
			return
		}
		n = value(uint64(bytes.Count(content, []byte{'\n'})))
		if len(content) > 0 {
			n.Value++ // the last line was trimmed
		}
		if info.Nlink == 2 {
			return // no directories: each would have a link to this one
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			if e.IsDir() {
				inner = append(inner, filepath.Join(path, e.Name()))
			}
		}
	})
	return n, inner
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// processes looks at the processes of a cgroup. init is the pid of a container's
// first process, or 0.
func (r *Reader) processes(cgroup string, init uint32) (p processReadings) {
	var pids [][]byte
	r.buffers.below(r.processesDir(cgroup), func(d dir) {
		content, ok := d.read("cgroup.procs")
		if !ok || len(content) >= maxFile-1 { // not all of them
			return
		}
		pids = bytes.Fields(bytes.Clone(content))
		p.count = value(uint64(len(pids)))
	})
	if p.count == nil {
		return p
	}
	d := descriptors{left: maxDescriptors}
	for _, pid := range pids {
		proc := filepath.Join(r.root, "proc", string(pid))
		d.add(filepath.Join(proc, "fd"))
		// In the list, so it is not a later process of the same number.
		if init != 0 && parseNumber(pid).GetValue() == uint64(init) {
			p.maxOpenFiles = r.maxOpenFiles(proc)
		}
	}
	if d.left >= 0 {
		p.files, p.sockets = value(d.files), value(d.sockets)
	}
	return p
}

// descriptors counts open files.
type descriptors struct {
	files, sockets uint64
	left           int // that may be looked at; below 0 when there were more
}

// add counts those in a directory /proc/<pid>/fd. A process that has ended has
// none.
func (c *descriptors) add(path string) {
	dir, err := os.Open(path)
	if err != nil {
		return
	}
	defer dir.Close()
	for c.left >= 0 {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if c.left--; c.left < 0 {
				return
			}
			c.files++
			if isSocket(int(dir.Fd()), name) {
				c.sockets++
			}
		}
		if err != nil { // io.EOF at the end
			return
		}
	}
}

// isSocket tells whether a link in /proc/<pid>/fd is to "socket:[inode]".
func isSocket(dir int, name string) bool {
	var target [len("socket:")]byte
	n, err := ignoringEINTR(func() (int, error) { return unix.Readlinkat(dir, name, target[:]) })
	return err == nil && string(target[:n]) == "socket:"
}

// maxOpenFiles reads the soft limit in the line "Max open files" of
// /proc/<pid>/limits; nil if there is none.
func (r *Reader) maxOpenFiles(proc string) (limit num) {
	r.buffers.in(proc, func(d dir) {
		for line := range bytes.Lines(d.content("limits")) {
			if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
				soft, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte{' '})
				limit = parseNumber(soft)
			}
		}
	})
	return limit
}
