// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/errdefs"
)

// SubPath returns the host path of a directory or regular file in a mounted image that nobody
// writes to, with its symbolic links resolved: the runtime, which mounts it, has none to follow
// (KEP-4639).
//
// Unlike a container's own paths it is the user's: a link or ".." that leads out of the image is
// refused, and so is an absolute link, of which nobody can say what it was meant to be relative to.
// Errors are InvalidArgument for these, NotFound for what is not there and FailedPrecondition for a
// file of another type.
func SubPath(root, path string) (string, error) {
	if !filepath.IsLocal(path) {
		return "", invalid("%q is not a path inside of the image", path)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	info, err := dir.Stat(path) // does not open it: it may be a FIFO
	if err != nil {
		return "", subPathError(err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return "", broken("%q is neither a directory nor a regular file: %s", path, info.Mode())
	}
	found, err := dir.Open(path)
	if err != nil {
		return "", subPathError(err)
	}
	defer found.Close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", found.Fd()))
}

// subPathError gives an error of os.Root its class. What is not the kernel's is its refusal to
// leave the root.
func subPathError(err error) error {
	var kernel syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL), !errors.As(err, &kernel):
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return err
}
