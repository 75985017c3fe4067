// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxCgroups is the number of cgroups of one container that are searched for processes.
const maxCgroups = 256

// maxDescriptors is the number of open files of one cgroup that are counted: each costs a system
// call. If there are more, neither files nor sockets are reported.
const maxDescriptors = 1 << 14

// processReadings are values of /proc about the processes in a cgroup. As in cAdvisor, processes in
// cgroups below it are not counted.
type processReadings struct {
	count, files, sockets num
	maxOpenFiles          num // soft limit of the init process
}

// processesDir returns the directory of a cgroup whose cgroup.procs is read.
func (r *Reader) processesDir(cgroup string) string {
	controller := unified
	if !r.isV2() {
		controller = "pids"
	}
	return r.dir(controller, cgroup)
}

// countProcesses counts the processes of a cgroup and of the cgroups below it, which an init system
// in a container creates. pids.current would count threads. It returns nil if there are too many
// cgroups or processes to count.
func (r *Reader) countProcesses(cgroup string) num {
	var count uint64
	dirs := []string{r.processesDir(cgroup)}
	for i := 0; i < len(dirs); i++ {
		n, inner := r.listedProcesses(dirs[i])
		if n == nil && i > 0 && !exists(dirs[i]) {
			continue // removed meanwhile
		}
		if dirs = append(dirs, inner...); n == nil || len(dirs) > maxCgroups {
			return nil
		}
		count += n.Value
	}
	return value(count)
}

// listedProcesses counts the processes in the directory of a cgroup, and returns its
// subdirectories.
func (r *Reader) listedProcesses(path string) (n num, inner []string) {
	r.buffers.withPath(path, func(d dir) {
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
			return // no subdirectories: each would link to this directory
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

// processes reads /proc for the processes of a cgroup. init is the PID of a container's first
// process, or 0.
func (r *Reader) processes(cgroup string, init uint32) (p processReadings) {
	var pids [][]byte
	r.buffers.withPath(r.processesDir(cgroup), func(d dir) {
		content, ok := d.read("cgroup.procs")
		if !ok || len(content) >= maxFile-1 { // missing, or longer than the buffer
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
		// The PID is listed in the cgroup: it has not been reused by a process elsewhere.
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
	left           int // that may still be counted; negative if there were more
}

// add counts the files in a directory /proc/<pid>/fd. A process that has exited has none.
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

// isSocket reports whether a link in /proc/<pid>/fd points to "socket:[inode]".
func isSocket(dir int, name string) bool {
	var target [len("socket:")]byte
	n, err := ignoringEINTR(func() (int, error) { return unix.Readlinkat(dir, name, target[:]) })
	return err == nil && string(target[:n]) == "socket:"
}

// maxOpenFiles returns the soft limit of the line "Max open files" in /proc/<pid>/limits, or nil if
// there is none.
func (r *Reader) maxOpenFiles(proc string) (limit num) {
	r.buffers.withOpenDir(proc, func(d dir) {
		for line := range bytes.Lines(d.content("limits")) {
			if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
				soft, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte{' '})
				limit = parseNumber(soft)
			}
		}
	})
	return limit
}
