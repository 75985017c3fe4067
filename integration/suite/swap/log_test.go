// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// checkLogs checks that the logs of both speeds continue, and that no line is lost or repeated.
// Stock containerd loses the lines that it has read and not yet written when it is stopped, which
// the fast log shows.
func (n *node) checkLogs(t *testing.T) {
	n.checkLog(t, n.pods["log"], true)
	n.checkLog(t, n.pods["fastlog"], n.shimLogs)
}

func (n *node) checkLog(t *testing.T, p *running, complete bool) {
	path := n.Path("logs", p.config.Metadata.Name, "main.log")
	numbers := func() []int {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var all []int
		for _, line := range strings.SplitAfter(string(text), "\n") {
			fields := strings.Fields(line)
			if len(fields) == 0 {
				continue
			}
			number, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				t.Errorf("line %q", line)
			}
			all = append(all, number)
		}
		return all
	}
	last := 0
	if all := numbers(); len(all) > 0 {
		last = all[len(all)-1]
	}
	err := harness.Await(t.Context(), func() error {
		if all := numbers(); len(all) == 0 || all[len(all)-1] <= last {
			return fmt.Errorf("no line after %d", last)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	last = 0
	for _, number := range numbers() {
		if number <= last || complete && number != last+1 {
			t.Fatalf("after line %d comes line %d", last, number)
		}
		last = number
	}
}
