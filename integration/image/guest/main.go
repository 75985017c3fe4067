// SPDX-License-Identifier: Apache-2.0

// Guest is what the images of the tests run that Debian has no program for. One static binary, by name:
//
//	pause  waits for a signal, reaping the children that a shared PID namespace leaves to process 1
//	nnp    prints its effective user id: installed setuid root, it shows what no_new_privs takes away
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "pause":
		pause()
	case "nnp":
		fmt.Printf("Effective uid: %d\n", os.Geteuid())
	default:
		fmt.Fprintf(os.Stderr, "guest: no program is called %s\n", name)
		os.Exit(2)
	}
}

func pause() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		reap()
	}
}

func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}
