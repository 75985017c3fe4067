// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd-lite/containerd-lite/plugin/paths"
)

// Dirs makes and removes the directories of containers.
type Dirs struct{ paths.Paths }

func (d Dirs) make(id string) error {
	c := d.Container(id)
	for _, dir := range []string{c.Root, c.IO()} {
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
	c := d.Container(id)
	if err := errors.Join(os.RemoveAll(c.Root), os.RemoveAll(c.State)); err != nil {
		return fmt.Errorf("directories of the container: %w", err)
	}
	return nil
}
