// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// CheckShim returns an error if the shim of a handler is not installed, or if its runtime type does
// not name one.
func CheckShim(h config.Handler) error {
	path := cmp.Or(h.Path, h.Type)
	if filepath.IsAbs(path) {
		if err := CheckProgram(path); err != nil {
			return fmt.Errorf("shim %w", err)
		}
		return nil
	}
	name := shim.BinaryName(h.Type)
	if name == "" {
		return fmt.Errorf("runtime_type %q does not name a shim (as io.containerd.lite.v2 does): %w", h.Type, errdefs.ErrFailedPrecondition)
	}
	_, err := FindProgram(name)
	return err
}

// CheckProgram returns an error if a program, of which the path or the name is given, is not
// installed.
func CheckProgram(name string) error {
	if !filepath.IsAbs(name) {
		_, err := FindProgram(name)
		return err
	}
	if !isProgram(name) {
		return fmt.Errorf("%s is not installed, or not executable: %w", name, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// FindProgram searches a program where containerd searches shims: on the PATH, and in the directory
// of the daemon.
func FindProgram(name string) (string, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); filepath.IsAbs(path) && isProgram(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: not in %s (put it beside containerd-lite or on its PATH): %w",
		name, strings.Join(dirs, ", "), errdefs.ErrFailedPrecondition)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
