// SPDX-License-Identifier: Apache-2.0

package reap

import "golang.org/x/sys/unix"

// KillOrphan kills a process that a command left behind if it is a child of this process. The
// caller has the Hold that covered the command: the process is not reaped under it, so its PID
// cannot belong to another process.
func (r *Reaper) KillOrphan(pid int) {
	err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil {
		return
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}
