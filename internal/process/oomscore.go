// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// maxOOMScore is OOM_SCORE_ADJ_MAX, see proc_pid_oom_score_adj(5).
const maxOOMScore = 1000

// SacrificeBefore makes the kernel kill the process pid rather than the process other when memory
// runs out. Without CAP_SYS_RESOURCE the kernel may refuse; pid then keeps the score that it
// inherits.
func SacrificeBefore(pid, other int) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", other))
	if err != nil {
		return fmt.Errorf("OOM score of process %d: %w", other, err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("OOM score of process %d: %w", other, err)
	}
	score = min(score+1, maxOOMScore)
	err = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("OOM score of process %d: %w", pid, err)
	}
	return nil
}
