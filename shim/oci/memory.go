// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memory is a file for a command of the runtime that takes no room on a disk and needs no removing.
type memory struct {
	*os.File
}

func newMemory(name string) (memory, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return memory{}, fmt.Errorf("file in memory for %s: %w", name, err)
	}
	return memory{os.NewFile(uintptr(fd), name)}, nil
}

// path is valid in other processes while the file is open.
func (m memory) path() string { return fdPath(m.File) }

// fdPath names a file that this process has open, for another process.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
