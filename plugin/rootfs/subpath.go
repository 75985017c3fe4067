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

// SubPath returns the host path of a directory or regular file in a mounted image. No process may
// write to the image. Symbolic links are resolved, because the runtime that mounts the path must
// not follow any (KEP-4639).
//
// Unlike paths in the image, path comes from the user: SubPath refuses a link or ".." that leads
// out of the image, and absolute links, because it is unclear what they are relative to. These
// errors are InvalidArgument. A path that does not exist is NotFound, and a file of another type
// FailedPrecondition.
func SubPath(root, path string) (string, error) {
	if !filepath.IsLocal(path) {
		return "", invalid("%q is not a path inside of the image", path)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	info, err := dir.Stat(path) // does not open the file, which may be a FIFO
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

// subPathError adds a class to an error of os.Root. An error without an errno is the refusal of
// os.Root to leave the root.
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
