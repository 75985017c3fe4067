// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// limits checks the limits of the kernel for all processes of a user: those of root are the ones
// that pods, the kubelet and the daemon share.
func limits(_ context.Context, n Node) []Finding {
	var problems []Finding
	if used, most := n.inotifyInstances(), n.number("proc/sys/fs/inotify/max_user_instances"); most > 0 && used*10 >= most*9 {
		problems = append(problems, warning("sysctl -w fs.inotify.max_user_instances=8192; echo fs.inotify.max_user_instances=8192 > /etc/sysctl.d/99-inotify.conf",
			"root has up to %d of %d inotify instances: the kubelet, the daemon and pods may fail with \"too many open files\"", used, most))
	}
	if watches := n.number("proc/sys/fs/inotify/max_user_watches"); watches > 0 && watches < 8192 {
		problems = append(problems, warning("sysctl -w fs.inotify.max_user_watches=524288", "fs.inotify.max_user_watches is %d: pods that watch files fail with \"no space left on device\"", watches))
	}
	if files := strings.Fields(n.read("proc/sys/fs/file-nr")); len(files) == 3 {
		if used, most := atoi(files[0]), atoi(files[2]); most > 0 && used >= most/10*9 {
			problems = append(problems, failure("sysctl -w fs.file-max=2097152", "%d of %d files are open: processes fail with \"too many open files in system\"", used, most))
		}
	}
	if used, most := n.processes(), n.number("proc/sys/kernel/pid_max"); most > 0 && used >= most/10*9 {
		problems = append(problems, failure("sysctl -w kernel.pid_max=4194304", "%d of %d PIDs are in use: pods fail with \"resource temporarily unavailable\"", used, most))
	}
	return orOK(problems, "inotify, open files and processes are below their limits")
}

// maxDescriptors is how many descriptors are read. A container can have any number.
const maxDescriptors = 100_000

// inotifyInstances counts the descriptors of inotify instances of root's processes, or returns 0 if
// there are too many descriptors. Processes can share an instance, so the result is an upper bound.
func (n Node) inotifyInstances() (count int) {
	dirs, err := filepath.Glob(n.path("proc/[0-9]*"))
	if err != nil {
		return 0
	}
	left := maxDescriptors
	for _, dir := range dirs {
		if !isRoots(dir) {
			continue
		}
		fds, err := os.Open(filepath.Join(dir, "fd"))
		if err != nil {
			continue // the process has ended
		}
		for names, err := fds.Readdirnames(batch); err == nil && left >= 0; names, err = fds.Readdirnames(batch) {
			left -= len(names)
			for _, name := range names {
				if target, err := os.Readlink(filepath.Join(fds.Name(), name)); err == nil && target == "anon_inode:inotify" {
					count++
				}
			}
		}
		fds.Close()
		if left < 0 {
			return 0
		}
	}
	return count
}

// batch is how many names of a directory are read at a time.
const batch = 256

func (n Node) processes() int {
	threads := strings.Fields(n.read("proc/loadavg")) // "0.00 0.01 0.05 1/123 456": running/all
	if len(threads) < 4 {
		return 0
	}
	_, all, _ := strings.Cut(threads[3], "/")
	return atoi(all)
}
