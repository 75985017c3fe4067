// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/errdefs"
	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// openFile opens the regular file at path in root. If there is none, the error is [fs.ErrNotExist].
func openFile(root, path string) (*os.File, error) {
	found, err := find(root, path, 0)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return pathrs.Reopen(found, unix.O_RDONLY)
}

// openDir opens the directory at path in root. If there is none, the error is [fs.ErrNotExist].
func openDir(root, path string) (*os.Root, error) {
	found, err := find(root, path, fs.ModeDir)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", found.Fd()))
}

// find looks up the file at path in root, which must have the given type. The result is opened with
// O_PATH and must be opened again for reading.
func find(root, path string, want fs.FileMode) (*os.File, error) {
	found, err := pathrs.OpenInRoot(root, path)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG) {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrFailedPrecondition, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := found.Stat()
	if err == nil && info.Mode().Type() != want {
		err = broken("is a file of another type: %s", info.Mode())
	}
	if err != nil {
		found.Close()
		return nil, err
	}
	return found, nil
}

// invalid returns the error for a bad value in the request or in the configuration of the image.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}

// broken returns the error for a root filesystem that lacks a required file or entry. The class is
// not NotFound, which would mean that the container or its image is missing.
func broken(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition)
}
