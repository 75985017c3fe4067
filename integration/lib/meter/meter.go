// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Meter measures one daemon. The zero value measures nothing.
type Meter struct {
	daemon     string   // directory of the daemon's cgroup; "" if CPU time is not accounted
	containers []string // directories of the cgroups above those of containers
	counter    *counter // nil if nothing is counted
}

// CPU accounts CPU time from the next [Meter.Attach] on. daemon is the name of the cgroup that the
// daemon gets, at the top of the hierarchy; the caller removes it. containers are the names of
// those that may contain the cgroups of containers.
func (m *Meter) CPU(daemon string, containers ...string) error {
	m.daemon = filepath.Join(hierarchy(), daemon)
	for _, name := range containers {
		m.containers = append(m.containers, filepath.Join(hierarchy(), name))
	}
	if err := os.Mkdir(m.daemon, 0o755); err != nil {
		return fmt.Errorf("cgroup of the daemon: %w", err)
	}
	return nil
}

// Count counts events from the next [Meter.Attach] on. It mounts tracefs at dir, which it creates;
// the caller unmounts it.
func (m *Meter) Count(dir string) (err error) {
	m.counter, err = newCounter(dir)
	return err
}

// Attach begins to measure a daemon that is about to begin: it must not have any child yet.
func (m *Meter) Attach(pid int) error {
	if m.daemon != "" {
		procs := filepath.Join(m.daemon, "cgroup.procs")
		if err := os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("cgroup of the daemon: %w", err)
		}
	}
	if m.counter != nil {
		return m.counter.attach(pid)
	}
	return nil
}

// Active reports whether anything is measured.
func (m *Meter) Active() bool { return m.daemon != "" || m.counter != nil }

// CPUTime returns the CPU time, user and system, of the daemon, the programs that it has started,
// and the containers.
func (m *Meter) CPUTime() (time.Duration, error) {
	sum, err := cpuTime(m.daemon)
	if err != nil {
		return 0, err
	}
	for _, dir := range m.containers {
		used, err := cpuTime(dir)
		// Before the first container there is no cgroup.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// Counts returns the numbers of events since the last [Meter.Attach].
func (m *Meter) Counts() (Counts, error) { return m.counter.read() }

// Close ends the counting.
func (m *Meter) Close() {
	if m.counter != nil {
		m.counter.close()
	}
}
