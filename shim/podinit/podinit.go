// SPDX-License-Identifier: Apache-2.0

package podinit

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Name is the base name of os.Args[0] under which the executable is an init.
const Name = "pod-init"

// Run reaps children until SIGTERM, SIGINT or SIGQUIT arrives and returns the
// exit code of the process.
func Run() int {
	signals := make(chan os.Signal, 32)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	defer signal.Stop(signals)
	for {
		// Before the first signal too: a child may have ended before Notify.
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
