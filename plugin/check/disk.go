// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// disks checks the file systems of containerd's data: space, inodes, and whether they can be
// written.
func disks(_ context.Context, n Node) []Finding {
	var all []Finding
	var seen []unix.Fsid
	for _, dir := range n.DataDirs {
		var st unix.Statfs_t
		existing, err := statfs(n.path(dir), &st)
		switch {
		case err != nil:
			all = append(all, failure("mount the file system of "+dir, "%s cannot be read: %v", dir, err))
		case !slices.Contains(seen, st.Fsid) || st.Fsid == unix.Fsid{}:
			seen = append(seen, st.Fsid)
			all = append(all, orOK(space(existing, st), "%s has %d MiB and %d inodes left", existing, st.Bavail*uint64(st.Bsize)>>20, st.Ffree)...)
		}
	}
	return all
}

// statfs reads the file system of a directory, or of the closest parent that exists.
func statfs(dir string, st *unix.Statfs_t) (existing string, err error) {
	for {
		err := unix.Statfs(dir, st)
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return dir, err
		}
		dir = filepath.Dir(dir)
	}
}

func space(dir string, st unix.Statfs_t) []Finding {
	const do = "crictl rmi --prune, or free space on the file system of "
	var problems []Finding
	if st.Flags&unix.ST_RDONLY != 0 {
		problems = append(problems, failure("mount -o remount,rw the file system, and see dmesg for the errors that made it read-only", "%s is read-only: no pod can be created or removed", dir))
	}
	free := share(st.Bavail, st.Blocks)
	switch {
	case free < 1:
		problems = append(problems, failure(do+dir, "%s has %d MiB left: pulls fail and pods cannot be created", dir, st.Bavail*uint64(st.Bsize)>>20))
	case free < 10:
		problems = append(problems, warning(do+dir, "%s is %d %% full: the kubelet evicts pods at 90 %%", dir, 100-free))
	}
	if st.Files > 0 && share(st.Ffree, st.Files) < 5 {
		problems = append(problems, failure(do+dir, "%s has %d of %d inodes left: files cannot be created", dir, st.Ffree, st.Files))
	}
	return problems
}

func share(part, all uint64) uint64 {
	if all == 0 {
		return 100
	}
	return part * 100 / all
}
