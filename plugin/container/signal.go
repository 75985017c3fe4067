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

// CRIStopSignal returns the record's stop signal as a value of the CRI.
func (r *Record) CRIStopSignal() runtimeapi.Signal {
	for value := range runtimeapi.Signal_name {
		if s := runtimeapi.Signal(value); fromCRI(s) == r.StopSignal {
			return s
		}
	}
	return runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT
}
