// SPDX-License-Identifier: Apache-2.0

package network

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the test binary as a CNI plugin if libcni called it.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		os.Exit(fakePlugin())
	}
	// With the race detector, a binary sleeps a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces and mounts need root")
	}
}
