// SPDX-License-Identifier: Apache-2.0

package shimoption

import (
	"bytes"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// Own are the own options of the lite shim. Daemon and shim embed it in what they decode with
// [Decode], so that a new option is a field here. An option whose type checks values implements
// unstable.Unmarshaler of go-toml and returns an [Error].
//
// Fields are compared by value. The daemon does not send empty values to the shim, so an empty
// value must mean the default.
type Own struct {
	// Sharing is how many pods a shim may have.
	Sharing Pods
	// FastExec makes the shim start execs without the OCI runtime where it can.
	FastExec bool
}

// Default returns the options with their defaults.
func Default() Own { return Own{Sharing: Pod} }

// Defaults returns the defaults as they are written in config.toml.
func Defaults() map[string]any { return map[string]any{"Sharing": "pod", "FastExec": false} }

// Error is a bad value of an option; its class is that of What.
type Error struct {
	Option string
	What   error
	Hint   string // a value that is accepted
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Option, e.What) }
func (e *Error) Unwrap() error { return e.What }

// Decode decodes a table into v. Names of options ignore case. An unknown option is a
// toml.StrictMissingError; v has the others then.
func Decode(table []byte, v any) error {
	return toml.NewDecoder(bytes.NewReader(table)).DisallowUnknownFields().EnableUnmarshalerInterface().Decode(v)
}
