// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernel checks the features of the kernel that pods need.
func kernel(_ context.Context, n Node) []Finding {
	var problems []Finding
	if n.Config.Images.Snapshotter == "overlayfs" && !hasWord(n.read("proc/filesystems"), "overlay") {
		problems = append(problems, failure("modprobe overlay; echo overlay > /etc/modules-load.d/overlay.conf",
			"the file system overlay is not loaded, and the snapshotter overlayfs needs it"))
	}
	if n.read("proc/sys/net/ipv4/ip_forward") == "0" {
		problems = append(problems, warning("sysctl -w net.ipv4.ip_forward=1; echo net.ipv4.ip_forward=1 > /etc/sysctl.d/99-kubernetes.conf",
			"net.ipv4.ip_forward is 0: pods on a bridge reach no other host"))
	}
	if n.read("proc/sys/user/max_user_namespaces") == "0" {
		problems = append(problems, warning("sysctl -w user.max_user_namespaces=15000",
			"user.max_user_namespaces is 0: pods with hostUsers: false fail"))
	}
	if !strings.Contains(n.read("proc/self/status"), "\nSeccomp:") {
		problems = append(problems, warning("use a kernel with CONFIG_SECCOMP_FILTER",
			"the kernel has no seccomp: containers with a seccomp profile fail, others run without one"))
	}
	return orOK(problems, "Linux %s has what pods need", n.read("proc/sys/kernel/osrelease"))
}

func hasWord(text, word string) bool { return slices.Contains(strings.Fields(text), word) }

// clockSource is the earliest time that a clock can show: the year of this source.
var clockSource = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock checks the time of day, on which TLS certificates and tokens depend.
func clock(context.Context, Node) []Finding { return clockAt(time.Now(), isSynchronized()) }

func clockAt(now time.Time, synchronized bool) []Finding {
	switch {
	case now.Before(clockSource):
		return []Finding{failure("timedatectl set-ntp true, or date -s TIME",
			"the clock shows %s: registries and the API server are refused, because their certificates are not valid yet", now.UTC().Format(time.DateTime))}
	case !synchronized:
		return []Finding{warning("timedatectl set-ntp true", "the clock is not synchronized: certificates and tokens may be refused")}
	}
	return []Finding{ok("the clock is synchronized")}
}

// isSynchronized reports whether the kernel knows that a time service disciplines the clock. It is
// true, too, if the kernel does not answer.
func isSynchronized() bool {
	state, err := unix.Adjtimex(&unix.Timex{})
	return err != nil || state != unix.TIME_ERROR
}

// securityModules checks that AppArmor and SELinux can do what the config asks.
func securityModules(_ context.Context, n Node) []Finding {
	var problems []Finding
	settings := n.Config.Runtime
	hasAppArmor := n.read("sys/module/apparmor/parameters/enabled") == "Y"
	if hasAppArmor && !settings.DisableApparmor && !isFile(n.path("sbin/apparmor_parser")) && !isFile(n.path("usr/sbin/apparmor_parser")) {
		problems = append(problems, failure("apt install apparmor",
			"AppArmor is on, but apparmor_parser is not installed: containers with the profile RuntimeDefault fail"))
	}
	hasSELinux := n.read("sys/fs/selinux/enforce") != ""
	switch {
	case settings.EnableSelinux && !hasSELinux:
		problems = append(problems, warning("remove the key, or enable SELinux and reboot", "enable_selinux is set, but SELinux is off: containers run without labels"))
	case !settings.EnableSelinux && hasSELinux:
		problems = append(problems, warning("set plugins.'io.containerd.cri.v1.runtime'.enable_selinux = true",
			"SELinux is on, but enable_selinux is not set: containers are not confined by it"))
	}
	return orOK(problems, "AppArmor is %s, SELinux is %s", onOff(hasAppArmor), onOff(hasSELinux))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

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
		if !n.isRoots(dir) {
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

func (n Node) isRoots(path string) bool {
	var st unix.Stat_t
	return n.Root != "/" || unix.Stat(path, &st) == nil && st.Uid == 0
}

func (n Node) processes() int {
	threads := strings.Fields(n.read("proc/loadavg")) // "0.00 0.01 0.05 1/123 456": running/all
	if len(threads) < 4 {
		return 0
	}
	_, all, _ := strings.Cut(threads[3], "/")
	return atoi(all)
}
