// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// openFile opens or creates the log file; it opens only regular files.
func openFile(dir, name string) (*os.File, error) {
	if dir == "" {
		dir, name = filepath.Split(name)
	}
	name = filepath.Clean(name)
	if dir == "" || name == "." || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("path %q is not below the log directory %q: %w", name, dir, errdefs.ErrInvalidArgument)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	sub, base := filepath.Split(name)
	if sub == "" {
		sub = "."
	}
	if err := root.MkdirAll(sub, 0o755); err != nil {
		return nil, err
	}
	// A FIFO in this place would block the open; O_DIRECTORY makes it an error.
	parent, err := root.OpenFile(sub, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return openRegular(parent, base)
}

// openRoot opens the log directory. Its parent may be a symbolic link, because the node's
// administrator chooses it. The directory itself must not be one: a pod that has mounted the parent
// could replace it with a link to any directory of the host.
func openRoot(dir string) (*os.Root, error) {
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	fd, err := openat(parent, filepath.Base(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("log directory %s is a symbolic link (make it a directory): %w", dir, errdefs.ErrFailedPrecondition)
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// openRegular opens or creates a regular file in parent. It tries twice, because a log rotation may
// rename the file at any time.
func openRegular(parent *os.File, base string) (*os.File, error) {
	const flags = unix.O_RDWR | unix.O_APPEND | unix.O_CLOEXEC
	var err error
	for range 2 {
		var fd int
		fd, err = openat(parent, base, flags|unix.O_CREAT|unix.O_EXCL, 0o640)
		if err == nil {
			return os.NewFile(uintptr(fd), filepath.Join(parent.Name(), base)), nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		var f *os.File
		f, err = openExisting(parent, base, flags)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, err
}

// openExisting checks the type of the file before it opens it: opening a device can have effects
// (starting a watchdog), and opening a FIFO blocks.
func openExisting(parent *os.File, base string, flags int) (*os.File, error) {
	fd, err := openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	found := os.NewFile(uintptr(fd), base)
	defer found.Close()
	info, err := found.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("log %s is not a regular file but has mode %s (remove it): %w",
			base, info.Mode(), errdefs.ErrFailedPrecondition)
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), flags, 0)
}

func openat(dir *os.File, base string, flags int, mode uint32) (fd int, err error) {
	for {
		fd, err = unix.Openat(int(dir.Fd()), base, flags, mode)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, &fs.PathError{Op: "openat", Path: filepath.Join(dir.Name(), base), Err: err}
	}
	return fd, nil
}

// endsWithinLine reports whether the file ends with a partial record: the disk was full or the
// writer was killed while it wrote the record.
func endsWithinLine(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
