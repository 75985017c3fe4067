// SPDX-License-Identifier: Apache-2.0

package container

import (
	"strings"

	"github.com/moby/sys/signal"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// defaultStopSignal is used if neither the request nor the image names a stop signal.
const defaultStopSignal = "SIGTERM"

// stopSignal returns the stop signal of a container: that of the request, else that of the image,
// else SIGTERM (KEP-4960).
func stopSignal(asked runtimeapi.Signal, image string) string {
	if asked != runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return fromCRI(asked)
	}
	if number, err := signal.ParseSignal(image); err == nil {
		for name, n := range signal.SignalMap {
			if n == number {
				return "SIG" + name
			}
		}
	}
	return defaultStopSignal
}

// The CRI spells real-time signals SIGRTMINPLUS1; the usual spelling is SIGRTMIN+1.
var realtime = strings.NewReplacer("PLUS", "+", "MINUS", "-")

func fromCRI(s runtimeapi.Signal) string {
	return realtime.Replace(strings.TrimPrefix(s.String(), "SIGNAL_"))
}

// criSignals are the signals of the CRI by their usual names.
var criSignals = func() map[string]runtimeapi.Signal {
	signals := make(map[string]runtimeapi.Signal, len(runtimeapi.Signal_name))
	for value := range runtimeapi.Signal_name {
		signals[fromCRI(runtimeapi.Signal(value))] = runtimeapi.Signal(value)
	}
	return signals
}()

// CRIStopSignal returns the record's stop signal as a value of the CRI, or
// SIGNAL_RUNTIME_DEFAULT, which is zero, for a signal that the CRI does not have.
func (r *Record) CRIStopSignal() runtimeapi.Signal { return criSignals[r.StopSignal] }
