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

// openFile opens the regular file at path in root. Absence is [fs.ErrNotExist].
func openFile(root, path string) (*os.File, error) {
	found, err := find(root, path, 0)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return pathrs.Reopen(found, unix.O_RDONLY)
}

// openDir opens the directory at path in root. Absence is [fs.ErrNotExist].
func openDir(root, path string) (*os.Root, error) {
	found, err := find(root, path, fs.ModeDir)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", found.Fd()))
}

// find looks up what is at path in root and must be of the given type. The file it returns is only
// good to open it again.
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

// invalid is the error for what the request or the image's configuration asks for and nobody could
// serve.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}

// broken is the error for a root filesystem that does not have what it must have. It is not
// NotFound, which would say that the container or its image is missing.
func broken(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition)
}
