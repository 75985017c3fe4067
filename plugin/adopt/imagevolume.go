// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
)

// removeImageVolumes unmounts the images that the built-in CRI has mounted for a pod. The lease
// with the ID of the pod keeps their snapshots.
func (s *Store) removeImageVolumes(podID string) error {
	dir := filepath.Join(s.Paths.State, "image-volumes", podID)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("image volumes of the built-in CRI: %w", err)
	}
	for _, entry := range entries {
		target := filepath.Join(dir, entry.Name())
		if err := mount.UnmountAll(target, 0); err != nil {
			return fmt.Errorf("image volume of the built-in CRI: unmount %s: %w", target, err)
		}
		if err := os.Remove(target); err != nil {
			return fmt.Errorf("image volume of the built-in CRI: %w", err)
		}
	}
	return os.Remove(dir)
}
