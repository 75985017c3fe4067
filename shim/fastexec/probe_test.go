// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// probeName is the name under which this test binary is the program probe in a container.
const probeName = "/probe"

// probe prints attributes of its process that the files of /proc do not have.
func probe() {
	show := func(name string, value any, err error) { fmt.Println(name, value, err) }
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	show("dumpable", dumpable, err)
	securebits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	show("securebits", securebits, err)
	keepcaps, err := unix.PrctlRetInt(unix.PR_GET_KEEPCAPS, 0, 0, 0, 0)
	show("keepcaps", keepcaps, err)
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	show("timer slack", slack, err)
	personality, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	show("personality", personality, errno)
	priority, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	show("I/O priority", priority, errno)
	scheduling, err := unix.SchedGetAttr(0, 0)
	show("scheduling", *scheduling, err)
	keyring, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	show("session keyring", keyring, err)
	session, err := unix.Getsid(0)
	show("session leader", session == os.Getpid() && unix.Getpgrp() == os.Getpid(), err)
	show("parent", os.Getppid(), nil)
	dir, err := os.Getwd()
	show("working directory", dir, err)
	show("arguments", os.Args, nil)
	show("environment", os.Environ(), nil)
	_, err = os.OpenFile("/dev/tty", os.O_RDWR, 0)
	show("terminal", nil, err)
	for fd := range 3 {
		var stat unix.Stat_t
		err := unix.Fstat(fd, &stat)
		show(fmt.Sprint("owner of stream ", fd), stat.Uid, err)
	}
}
