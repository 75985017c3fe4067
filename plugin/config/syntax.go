// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/internal/regular"
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

// maxHostsFile is the length in bytes of the longest hosts.toml that is checked.
const maxHostsFile = 1 << 20

// CheckHostsFile returns the syntax error of a hosts.toml. containerd logs it and ignores the file,
// so that pulls go to the registry itself. A missing file is no error.
func CheckHostsFile(path string) error {
	data, err := regular.Read(path, maxHostsFile)
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
