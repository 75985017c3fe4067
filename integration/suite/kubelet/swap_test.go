// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// TestSwap replaces the daemon under a kubelet with pods, in both directions and back. The kubelet
// must restart nothing. A pod that was started with one daemon is removed with the other.
func TestSwap(t *testing.T) {
	for _, o := range []harness.Options{
		{Daemon: harness.Stock, Handler: harness.HandlerRunc},
		{Daemon: harness.Lite},
	} {
		t.Run("from "+o.Daemon, func(t *testing.T) {
			n := startOn(t, o, nil)
			other := harness.Lite
			if o.Daemon == harness.Lite {
				other = harness.Stock
			}
			swap := func(daemon string) func() {
				return func() {
					if err := n.Daemon.Swap(t.Context(), daemon, ""); err != nil {
						t.Fatal(err)
					}
				}
			}
			t.Run("to "+other, func(t *testing.T) { undisturbed(t, n, swap(other)) })
			swap(o.Daemon)()
			t.Run("and back", func(t *testing.T) {
				undisturbed(t, n, func() { swap(other)(); swap(o.Daemon)() })
			})
		})
	}
}
