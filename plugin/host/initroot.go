// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// MakeInitRoot creates the root directory of a pod's init (spec.PodInitInput.Root), or completes
// it. The directory has the mount points of spec.PodInit and nothing else. The runtime cannot
// create them, because root of a user namespace may not write to the directory.
func MakeInitRoot(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, "proc"), filepath.Join(dir, "dev")} {
		// The runtime opens the directories as root of the pod's user namespace, which does not own
		// them.
		if err := errors.Join(os.MkdirAll(d, dirMode), os.Chmod(d, 0o755)); err != nil {
			return fmt.Errorf("root of pod init: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, spec.PodInitPath), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("root of pod init: %w", err)
	}
	return f.Close()
}
