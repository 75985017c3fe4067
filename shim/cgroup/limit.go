// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Reclaim asks the kernel to reclaim memory of a v2 cgroup until its usage is below a limit in
// bytes (memory.reclaim, Linux 5.19): page cache, and with swap also anonymous memory.
func (g *Group) Reclaim(limit int64) error {
	dir, ok := g.unified()
	if !ok || limit <= 0 {
		return nil
	}
	// Reclaim 1/16 more than needed: running processes allocate meanwhile.
	used, room := number(dir, "memory.current"), uint64(limit-limit/16)
	if used <= room {
		return nil
	}
	if err := write(filepath.Join(dir, "memory.reclaim"), strconv.FormatUint(used-room, 10)); err != nil {
		return fmt.Errorf("cgroup: reclaim memory: %w", err)
	}
	return nil
}

// Fits returns errdefs.ErrFailedPrecondition if the memory usage of a v2 cgroup has reached a limit
// in bytes: the kernel would kill its processes if the limit were set. On v1 the kernel refuses
// such a limit.
func (g *Group) Fits(limit int64) error {
	dir, ok := g.unified()
	if !ok || limit <= 0 {
		return nil
	}
	if used := number(dir, "memory.current"); used >= uint64(limit) {
		return fmt.Errorf("the memory limit %d is not above the %d bytes in use: %w", limit, used, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// LimitHugepages limits the huge pages in use and, since Linux 5.7, reserved, as runc does when it
// creates a container.
func (g *Group) LimitHugepages(limits []specs.LinuxHugepageLimit) error {
	for _, l := range limits {
		dir, err := g.dir("hugetlb")
		if err != nil {
			return err
		}
		used, reserved := "hugetlb.%s.limit_in_bytes", "hugetlb.%s.rsvd.limit_in_bytes"
		if _, ok := g.unified(); ok {
			used, reserved = "hugetlb.%s.max", "hugetlb.%s.rsvd.max"
		}
		value := strconv.FormatUint(l.Limit, 10)
		if err := write(filepath.Join(dir, fmt.Sprintf(used, l.Pagesize)), value); err != nil {
			return fmt.Errorf("cgroup: limit of huge pages of %s: %w", l.Pagesize, err)
		}
		err = write(filepath.Join(dir, fmt.Sprintf(reserved, l.Pagesize)), value)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cgroup: limit of reserved huge pages of %s: %w", l.Pagesize, err)
		}
	}
	return nil
}
