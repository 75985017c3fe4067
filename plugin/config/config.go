// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"time"
)

// The tables of config.toml, which are also the URIs of the plugins that read them.
const (
	ImagesTable  = "io.containerd.cri.v1.images"
	RuntimeTable = "io.containerd.cri.v1.runtime"
	ServerTable  = "io.containerd.grpc.v1.cri"
)

// Config is everything that config.toml says about the CRI.
type Config struct {
	Images  Images
	Runtime Runtime
	Server  Server
}

// Duration is a duration in Go's notation ("1m30s"); the empty string means that it is not set.
type Duration string

// Or returns the duration, or unset where the key is empty. A text that is no duration, which
// Validate reports, counts as empty.
func (d Duration) Or(unset time.Duration) time.Duration {
	parsed, err := time.ParseDuration(string(d))
	if err != nil {
		return unset
	}
	return parsed
}

// check returns what is wrong with the text, or nothing.
func (d Duration) check() string {
	if d == "" {
		return ""
	}
	parsed, err := time.ParseDuration(string(d))
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a duration", string(d))
	case parsed < 0:
		return fmt.Sprintf("%q is negative", string(d))
	}
	return ""
}
