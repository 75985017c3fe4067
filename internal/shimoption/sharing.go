// SPDX-License-Identifier: Apache-2.0

package shimoption

import (
	"fmt"
	"math"

	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Pods is the number of pods that a shim may have at a time; 0 means [Pod].
type Pods int

var _ unstable.Unmarshaler = (*Pods)(nil)

// The named values. A task that is in no pod counts as one pod.
const (
	Pod  Pods = 1           // "pod": one shim per pod
	Node Pods = math.MaxInt // "node": no limit
)

// UnmarshalTOML decodes "pod", "node" or a number from 1. The class of the [Error] for any other
// value is errdefs.ErrInvalidArgument.
func (p *Pods) UnmarshalTOML(data []byte) error {
	var decoded struct{ Value any }
	if toml.Unmarshal(append([]byte("Value = "), data...), &decoded) != nil {
		decoded.Value = string(data) // a table, which is not a value
	}
	pods, err := parsePods(decoded.Value)
	if err != nil {
		return &Error{"Sharing", err, `write "pod" for a shim per pod, "node" for one shim, or a number of pods per shim`}
	}
	*p = pods
	return nil
}

// parsePods parses a decoded TOML value.
func parsePods(value any) (Pods, error) {
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
