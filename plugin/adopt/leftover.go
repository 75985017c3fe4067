// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
)

// removeLeftovers removes the image volumes of a stopped pod, and the directories of a pod of the
// built-in CRI, which only that CRI creates.
func (s *Store) removeLeftovers(podID string, builtIn bool) error {
	if err := s.removeImageVolumes(podID); err != nil || !builtIn {
		return err
	}
	dirs := s.Paths.Pod(podID)
	for _, dir := range []string{filepath.Dir(dirs.PinnedUser()), dirs.State} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("directory of the built-in CRI: %w", err)
		}
	}
	return nil
}

// removeImageVolumes unmounts the images that the built-in CRI has mounted for a pod. The lease
// with the ID of the pod keeps their snapshots.
func (s *Store) removeImageVolumes(podID string) error {
	dir := s.Paths.ImageVolumes(podID)
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
