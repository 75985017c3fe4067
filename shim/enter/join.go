// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is a part of the work with its name for errors.
type step struct {
	name string
	do   func() error
}

func inOrder(steps ...step) error {
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// join gives this process all that the container's processes share. Everything that needs /proc
// comes before the mount namespace: the container decides on its own /proc.
func (r *Request) join() error {
	return inOrder(
		step{"compare security labels", r.compareLabels},
		step{"set AppArmor profile", r.setAppArmorProfile},
		step{"set oom_score_adj", r.setOOMScore},
		step{"join cgroups", r.joinCgroups},
		step{"reset CPU affinity", resetAffinity},
		step{"leave the directories of other threads", func() error { return unix.Unshare(unix.CLONE_FS) }},
		step{"join namespaces", func() error { return unix.Setns(PidfdFile, int(r.Namespaces)) }},
		step{"join session keyring", r.joinKeyring},
	)
}

func (r *Request) setOOMScore() error {
	if r.OOMScoreAdj == "" {
		return nil
	}
	return writeFile("/proc/self/oom_score_adj", r.OOMScoreAdj)
}

func (r *Request) joinCgroups() error {
	for _, path := range r.CgroupProcs {
		if err := writeFile(path, "0"); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// maxCPUs is more than a kernel supports. The kernel ignores CPUs that do not exist or that the
// cgroup does not have.
const maxCPUs = 64 << 10

// resetAffinity allows all CPUs of the cgroup, as runc does.
func resetAffinity() error {
	var all [maxCPUs / 8]byte
	for i := range all {
		all[i] = 0xff
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, uintptr(len(all)), uintptr(unsafe.Pointer(&all)))
	if errno != 0 {
		return errno
	}
	return nil
}

func (r *Request) joinKeyring() error {
	if r.Keyring == "" {
		return nil
	}
	_, err := unix.KeyctlJoinSessionKeyring(r.Keyring)
	if errors.Is(err, unix.ENOSYS) { // a kernel without keyrings
		return nil
	}
	return err
}

// maxFile bounds the files that are read, in bytes.
const maxFile = 1 << 20

// readFile reads a regular file or a file of procfs.
func readFile(path string) ([]byte, error) {
	// The container may have replaced a file by a FIFO or a device. Opening must not block.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unix.EINVAL
	}
	return readAll(fd)
}

func readAll(fd int) ([]byte, error) {
	var data []byte
	buffer := make([]byte, 8<<10)
	for {
		n, err := unix.Read(fd, buffer)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return data, nil
		}
		if data = append(data, buffer[:n]...); len(data) > maxFile {
			return nil, unix.EFBIG
		}
	}
}

func writeFile(path, content string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(content))
	return err
}
