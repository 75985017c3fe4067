// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/cgroups/v3"
)

// hierarchy returns the root of the hierarchy that accounts CPU time.
func hierarchy() string {
	if cgroups.Mode() == cgroups.Unified {
		return "/sys/fs/cgroup"
	}
	return "/sys/fs/cgroup/cpuacct"
}

// cpuTime reads the CPU time of a cgroup. It includes the cgroups below, also those that have been
// removed.
func cpuTime(dir string) (time.Duration, error) {
	if cgroups.Mode() != cgroups.Unified {
		text, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
		if err != nil {
			return 0, err
		}
		used, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		return time.Duration(used), err
	}
	text, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	var used int64
	if _, err := fmt.Sscanf(string(text), "usage_usec %d", &used); err != nil {
		return 0, fmt.Errorf("%s/cpu.stat: %w", dir, err)
	}
	return time.Duration(used) * time.Microsecond, nil
}
