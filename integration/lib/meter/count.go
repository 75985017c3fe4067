// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counts are numbers of events of the daemon and of all processes that descend from it.
type Counts struct {
	SystemCalls, Programs, Syncs uint64
}

// Sub returns the events since an earlier count.
func (c Counts) Sub(before Counts) Counts {
	return Counts{c.SystemCalls - before.SystemCalls, c.Programs - before.Programs, c.Syncs - before.Syncs}
}

// counter counts tracepoints of the kernel (perf_event_open(2)) in a process and its descendants.
// Unlike strace it does not slow them down.
type counter struct {
	ids []uint64 // of the tracepoints, in the order of tracepoints
	fds []int    // of the events of the process that was attached last
}

// tracepoints are the counted events, in the order of the fields of [Counts]; the last two are
// summed.
var tracepoints = [...]string{
	"raw_syscalls/sys_enter", "sched/sched_process_exec", "syscalls/sys_enter_fsync", "syscalls/sys_enter_fdatasync",
}

// newCounter finds the tracepoints. It mounts tracefs at dir, because many hosts have it nowhere.
// The caller unmounts it.
func newCounter(dir string) (*counter, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		return nil, fmt.Errorf("mount tracefs: %w", err)
	}
	c := &counter{}
	for _, name := range tracepoints {
		text, err := os.ReadFile(filepath.Join(dir, "events", name, "id"))
		if err != nil {
			return nil, fmt.Errorf("tracepoint %s: %w", name, err)
		}
		id, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("tracepoint %s: %w", name, err)
		}
		c.ids = append(c.ids, id)
	}
	return c, nil
}

// attach counts the events of a process and of its future descendants, from 0.
func (c *counter) attach(pid int) error {
	c.close()
	for i, id := range c.ids {
		attr := unix.PerfEventAttr{
			Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit,
			Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		}
		fd, err := unix.PerfEventOpen(&attr, pid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("count %s: %w", tracepoints[i], err)
		}
		c.fds = append(c.fds, fd)
	}
	return nil
}

func (c *counter) read() (Counts, error) {
	var values [len(tracepoints)]uint64
	for i, fd := range c.fds {
		var value [8]byte
		if _, err := unix.Read(fd, value[:]); err != nil {
			return Counts{}, fmt.Errorf("count %s: %w", tracepoints[i], err)
		}
		values[i] = binary.NativeEndian.Uint64(value[:])
	}
	return Counts{SystemCalls: values[0], Programs: values[1], Syncs: values[2] + values[3]}, nil
}

// close ends the counting.
func (c *counter) close() {
	for _, fd := range c.fds {
		unix.Close(fd)
	}
	c.fds = nil
}
