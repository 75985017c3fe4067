// SPDX-License-Identifier: Apache-2.0

package podinit

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Name is the base name of os.Args[0] with which the executable runs as pod init.
const Name = "pod-init"

// Run reaps children until SIGTERM, SIGINT or SIGQUIT arrives. It returns the exit code of the
// process.
func Run() int {
	signals := make(chan os.Signal, 32)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	defer signal.Stop(signals)
	for {
		// Also before the first signal: a child may have exited before Notify.
		reapAll()
		if <-signals != unix.SIGCHLD {
			return 0
		}
	}
}

func reapAll() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
