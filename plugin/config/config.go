// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"time"
)

// Tables of config.toml. They are also the URIs of the plugins that read them.
const (
	ImagesTable  = "io.containerd.cri.v1.images"
	RuntimeTable = "io.containerd.cri.v1.runtime"
	ServerTable  = "io.containerd.grpc.v1.cri"
)

// Config is the CRI's part of config.toml.
type Config struct {
	Images  Images
	Runtime Runtime
	Server  Server
}

// Duration is a duration in Go's notation ("1m30s"). The empty string means not set.
type Duration string

// Or returns the duration, or unset if the key is empty. A text that is not a duration counts as
// empty; Validate reports it.
func (d Duration) Or(unset time.Duration) time.Duration {
	parsed, err := time.ParseDuration(string(d))
	if err != nil {
		return unset
	}
	return parsed
}

// check returns what is wrong with the text, or "".
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
