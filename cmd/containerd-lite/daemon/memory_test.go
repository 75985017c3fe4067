// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReleaseReturnsTheHeap checks that memory which is no longer in use is returned to the system.
func TestReleaseReturnsTheHeap(t *testing.T) {
	const size = 64 << 10 // KiB
	garbage = make([]byte, size<<10)
	for i := range garbage {
		garbage[i] = 1
	}
	garbage = nil
	before := anonymous(t)
	release()
	if freed := before - anonymous(t); freed < size*9/10 {
		t.Errorf("%d KiB of %d KiB of garbage were returned", freed, size)
	}
}

// garbage keeps the compiler from optimizing the allocation away.
var garbage []byte

// anonymous returns the memory of this process that belongs to no file, in KiB.
func anonymous(t *testing.T) (kib int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(data), "RssAnon:")
	if _, err := fmt.Sscan(line, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// The goroutine that watches for idleness ends with the daemon.
func TestReleaseWhenIdleEnds(t *testing.T) {
	releaseWhenIdle(t.Context())()
}
