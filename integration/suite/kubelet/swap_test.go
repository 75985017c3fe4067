// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// TestSwap replaces stock containerd by containerd-lite under a kubelet with pods, and goes back.
// The kubelet must restart nothing. A pod that was started with one daemon is removed with the
// other.
func TestSwap(t *testing.T) {
	n := startOn(t, harness.Options{Daemon: harness.Stock, Handler: harness.HandlerRunc}, nil)
	swap := func(daemon string) func() {
		return func() {
			if err := n.Daemon.Swap(t.Context(), daemon); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("to containerd-lite", func(t *testing.T) { undisturbed(t, n, swap(harness.Lite)) })
	swap(harness.Stock)()
	t.Run("and back", func(t *testing.T) {
		undisturbed(t, n, func() { swap(harness.Lite)(); swap(harness.Stock)() })
	})
}
