// SPDX-License-Identifier: Apache-2.0

package nofile

import "unsafe"

// Limit is a limit as prlimit(2) has it.
type Limit struct{ Soft, Hard uint64 }

// Inherited is the limit with which the process was started. Its zero value means that the limit
// could not be read.
var Inherited = read()

// rawSyscall6 needs no import of package syscall, which would be initialized before this package.
// golang.org/x/sys/unix refers to the same symbol.
//
//go:linkname rawSyscall6 syscall.RawSyscall6
//go:noescape
func rawSyscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr) //nolint:revive // the kernel has six arguments

const rlimitNofile = 7

func read() Limit {
	var limit Limit
	if _, _, errno := rawSyscall6(prlimit64, 0, rlimitNofile, 0, uintptr(unsafe.Pointer(&limit)), 0, 0); errno != 0 {
		return Limit{}
	}
	return limit
}
