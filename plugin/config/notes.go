// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"strings"
)

// Notes says what an administrator may want to know of the table although nothing is wrong with it,
// one line each, in a fixed order. Call it after Complete.
func (r Runtime) Notes() []string {
	notes := []string{r.shims()}
	if r.EnableCRIU {
		notes = append(notes, KeyPath(RuntimeTable, "enable_criu")+
			": has no effect, CheckpointContainer answers Unimplemented; keep containerd on nodes that make checkpoints")
	}
	return notes
}

// shims says which handlers use which shim, and how to use ours where the default handler does not.
func (r Runtime) shims() string {
	handlers := map[string][]string{}
	for _, name := range r.HandlerNames() {
		h := r.Containerd.Runtimes[name]
		shim := cmp.Or(h.Path, h.Type)
		if name == r.Containerd.DefaultRuntimeName {
			name += " (default)"
		}
		handlers[shim] = append(handlers[shim], name)
	}
	var parts []string
	for _, shim := range sortedKeys(handlers) {
		parts = append(parts, fmt.Sprintf("%s: %s", shim, strings.Join(handlers[shim], ", ")))
	}
	line := "runtime handlers by shim: " + strings.Join(parts, "; ")
	name := r.Containerd.DefaultRuntimeName
	if r.Containerd.Runtimes[name].Type == RuncRuntimeType {
		line += fmt.Sprintf("; pods of the default handler have a process more than with the lite shim, and their logs stand still "+
			"while the daemon is away; write %s = %q to use it", KeyPath(RuntimeTable, "containerd", "runtimes", name, "runtime_type"), LiteRuntimeType)
	}
	return line
}
