// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// SyntaxError adds the file and, if the error has them, the line, the column and the key to an
// error of decoding TOML.
func SyntaxError(path string, err error) error {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return fmt.Errorf("%s: %w", path, err)
	}
	row, column := at.Position()
	if key := at.Key(); len(key) > 0 {
		return fmt.Errorf("%s:%d:%d: %s: %w", path, row, column, strings.Join(key, "."), err)
	}
	return fmt.Errorf("%s:%d:%d: %w", path, row, column, err)
}

// CheckHostsFile returns the syntax error of a hosts.toml. containerd logs it and ignores the file,
// so that pulls go to the registry itself. A missing file is no error.
func CheckHostsFile(path string) error {
	data, err := ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hosts.toml: %w", err)
	}
	if err := toml.Unmarshal(data, &map[string]any{}); err != nil {
		return SyntaxError(path, err)
	}
	return nil
}

// maxFile is the length in bytes of the longest file that is read.
const maxFile = 1 << 20

// ReadFile reads a regular file of at most 1 MiB. A path can be chosen by a process on the node: a
// pipe must not block the checks, and a device must not fill the memory.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, errdefs.ErrFailedPrecondition)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes: %w", path, maxFile, errdefs.ErrFailedPrecondition)
	}
	return data, err
}
