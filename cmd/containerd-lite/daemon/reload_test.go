// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// A reload that panics, here because it has no command, does not prevent the next one.
func TestPanicInAReload(t *testing.T) {
	stop := reloadOnHangup(t.Context(), nil)
	defer stop()
	for range 2 {
		before := guard.Count()
		if err := unix.Kill(unix.Getpid(), unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for guard.Count() == before {
			if t.Context().Err() != nil {
				t.Fatal("no second reload")
			}
			time.Sleep(time.Millisecond)
		}
	}
}
