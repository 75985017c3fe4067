// SPDX-License-Identifier: Apache-2.0

package sharing

import (
	"fmt"
	"math"

	"github.com/containerd/errdefs"
)

// Key is the name of the option.
const Key = "Sharing"

// Pods is the number of pods that a shim may have at a time; 0 means [Pod].
type Pods int

// The named values. A task that is in no pod counts as one pod.
const (
	Pod  Pods = 1           // "pod": one shim per pod
	Node Pods = math.MaxInt // "node": no limit
)

// Parse parses a decoded TOML value: "pod", "node" or a number from 1. The error of any other value
// is errdefs.ErrInvalidArgument.
func Parse(value any) (Pods, error) {
	switch v := value.(type) {
	case string:
		switch v {
		case "pod":
			return Pod, nil
		case "node":
			return Node, nil
		}
	case int64:
		if v >= 1 && v <= int64(Node) {
			return Pods(v), nil
		}
	}
	return 0, fmt.Errorf(`%#v: want "pod", "node" or a number of pods from 1: %w`, value, errdefs.ErrInvalidArgument)
}

// Shared reports whether a shim may have more than one pod.
func (p Pods) Shared() bool { return p > Pod }

// Full reports whether a shim with n pods has no room for another.
func (p Pods) Full(n int) bool { return n >= int(max(p, Pod)) }
