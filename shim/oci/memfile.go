// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memFile is a file in memory for a command of the runtime. It needs no disk space and no cleanup.
type memFile struct {
	*os.File
}

func newMemFile(name string) (memFile, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return memFile{}, fmt.Errorf("memory file for %s: %w", name, err)
	}
	return memFile{os.NewFile(uintptr(fd), name)}, nil
}

// path returns a path that other processes can open while the file is open here.
func (m memFile) path() string { return fdPath(m.File) }

// fdPath returns a path under which other processes can open a file that this process has open.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
