// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Dirs are the directories for the files of containers. Root holds the files that survive a reboot:
// copies of the volumes that images define. State holds those that do not: FIFOs and the mounts of
// images.
type Dirs struct {
	Root, State string
}

const containersDir = "containers"

func (d Dirs) root(id string) string    { return filepath.Join(d.Root, containersDir, id) }
func (d Dirs) state(id string) string   { return filepath.Join(d.State, containersDir, id) }
func (d Dirs) volumes(id string) string { return filepath.Join(d.root(id), "volumes") }
func (d Dirs) images(id string) string  { return filepath.Join(d.state(id), "images") }
func (d Dirs) io(id string) string      { return filepath.Join(d.state(id), "io") }

func (d Dirs) make(id string) error {
	for _, dir := range []string{d.root(id), d.io(id)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("directories of the container: %w", err)
		}
	}
	return nil
}

func (d Dirs) remove(id string) error {
	if err := d.unmountImages(id); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(d.root(id)), os.RemoveAll(d.state(id))); err != nil {
		return fmt.Errorf("directories of the container: %w", err)
	}
	return nil
}

// ids returns the IDs of the containers that have directories.
func (d Dirs) ids() ([]string, error) {
	var ids []string
	var errs []error
	for _, parent := range []string{d.Root, d.State} {
		entries, err := os.ReadDir(filepath.Join(parent, containersDir))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		errs = append(errs, err)
		for _, entry := range entries {
			ids = append(ids, entry.Name())
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), errors.Join(errs...)
}
