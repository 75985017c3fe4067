// SPDX-License-Identifier: Apache-2.0

package container

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Each signal of the CRI has a name of its own. The kubelet asks for statuses all the time: a
// status does not compare with all signals.
func TestStopSignalInStatus(t *testing.T) {
	for value := range runtimeapi.Signal_name {
		want := runtimeapi.Signal(value)
		r := &Record{StopSignal: fromCRI(want)}
		if got := r.CRIStopSignal(); got != want {
			t.Errorf("stop signal %s: %s, want %s", r.StopSignal, got, want)
		}
		if n := testing.AllocsPerRun(10, func() { r.CRIStopSignal() }); n > 0 {
			t.Errorf("stop signal %s: %.0f allocations, want none", r.StopSignal, n)
		}
	}
}
