// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRunnerDoesNotWait checks that a check that hangs delays no caller, and that the next caller
// joins its run.
func TestRunnerDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers atomic.Int32
		hang := make(chan struct{})
		n := newNode(t, nil)
		n.RuntimeVersion = func(context.Context, string) (string, string, error) {
			answers.Add(1)
			<-hang
			return "runc", "1.1.5", nil
		}
		r := Runner{Node: func() Node { return n }}
		for range 3 {
			if found := r.Problems(t.Context(), time.Second); len(found) != 1 || found[0].Check != "check" {
				t.Errorf("while a check hangs: %v", found)
			}
		}
		if runs := answers.Load(); runs != 1 {
			t.Errorf("%d runs, want one", runs)
		}
		close(hang)
		found := r.Problems(t.Context(), time.Second)
		if len(found) == 0 || found[0].Check == "check" {
			t.Errorf("when the check has ended: %v", found)
		}
		synctest.Wait()
	})
}
