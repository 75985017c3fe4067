// SPDX-License-Identifier: Apache-2.0

package reap

import "golang.org/x/sys/unix"

// KillOrphan ends a process that a command left behind, if it is a child of
// this process. Call it under the Hold that covered the command: nobody else
// reaps the process then, so its number cannot have passed to a stranger.
func (r *Reaper) KillOrphan(pid int) {
	err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil {
		return
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}
