// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// emptyLayer is the second layer that an overlay without an upper layer must have. Its files are
// not used.
const emptyLayer = "/run"

// executable returns the executable of the shim as a file that cannot be written. A process of a
// container can get hold of the file that the program was executed from, and later open it for
// writing (CVE-2019-5736). The file is on a read-only overlay that is mounted nowhere; unlike a
// copy, it needs no memory.
var executable = sync.OnceValues(func() (*os.File, error) {
	f, err := seal()
	if err != nil {
		return nil, fmt.Errorf("seal the shim's executable: %w", err)
	}
	return f, nil
})

func seal() (*os.File, error) {
	path, err := own()
	if err != nil {
		return nil, err
	}
	layers := escape(filepath.Dir(path)) + ":" + emptyLayer
	mount, err := overlay(layers)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, filepath.Base(path), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open in overlay: %w", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// own returns the path of the shim's executable. A shim that has been upgraded while it runs has
// none: the new executable may not understand its requests.
func own() (string, error) {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return "", err
	}
	running, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	installed, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !os.SameFile(running, installed) {
		return "", errors.New("it was replaced")
	}
	return path, nil
}

// escape escapes the separator of layers.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(dir)
}

// overlay returns a file descriptor of a new overlay mount without an upper layer.
func overlay(layers string) (int, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "lowerdir", layers); err != nil {
		return -1, err
	}
	// Without effect here, and the kernel logs a warning if the layers need it.
	_ = unix.FsconfigSetString(fs, "xino", "off")
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}
