// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const exitFile = "exit.json"

// Exit is the recorded exit of an init.
type Exit struct {
	Timestamp time.Time
	Pid       int
	Status    int
}

// WriteExit records the exit of the init. The file is renamed into place, so that a reader never
// sees a part of it. There is no fsync: the bundle is in memory and does not survive a reboot.
func (d Dir) WriteExit(e Exit) error {
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write exit status: %w", err)
	}
	temp := d.path("." + exitFile)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return fmt.Errorf("write exit status: %w", err)
	}
	if err := os.Rename(temp, d.path(exitFile)); err != nil {
		return fmt.Errorf("write exit status: %w", err)
	}
	return nil
}

// Exit returns the recorded exit of the init. The error is fs.ErrNotExist if the init was still
// running when its shim was lost.
func (d Dir) Exit() (Exit, error) {
	var e Exit
	data, err := os.ReadFile(d.path(exitFile))
	if err != nil {
		return e, fmt.Errorf("read exit status: %w", err)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("read exit status: %w", err)
	}
	if e.Pid <= 0 || e.Status < 0 || e.Timestamp.IsZero() {
		return Exit{}, fmt.Errorf("read exit status: invalid content: PID %d, status %d, time %s", e.Pid, e.Status, e.Timestamp)
	}
	return e, nil
}
