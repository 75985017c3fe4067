// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
)

// userNamespace returns the path at which the built-in CRI pins the user namespace of a pod.
func (s *Store) userNamespace(podID string) string {
	return filepath.Join(s.Paths.Pod(podID).State, "pinned-namespaces", "user")
}

// removeLeftovers removes what the built-in CRI has beside the files of a pod, which is stopped.
func (s *Store) removeLeftovers(podID string) error {
	if err := s.removeImageVolumes(podID); err != nil {
		return err
	}
	state := s.Paths.Pod(podID).State
	for _, dir := range []string{filepath.Dir(s.userNamespace(podID)), state} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("directory of the built-in CRI: %w", err)
		}
	}
	return nil
}

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
