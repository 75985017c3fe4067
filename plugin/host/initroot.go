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

// MakeInitRoot makes the root directory of a pod's init (spec.PodInitInput.Root), or completes it:
// the mount points of spec.PodInit and nothing else. They are made here because the runtime cannot:
// in a user namespace, nobody in it may write to the directory. As nobody writes to it at all, pods
// may share one.
func MakeInitRoot(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, "proc"), filepath.Join(dir, "dev")} {
		// The runtime opens them as the root of the pod's user namespace, to whom they are
		// another's.
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
