// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"strings"
)

// Notes returns remarks for the administrator about a valid table, one line each, in a fixed order.
// Call it after Complete.
func (r Runtime) Notes() []string {
	notes := []string{r.shims()}
	if r.EnableCRIU {
		notes = append(notes, KeyPath(RuntimeTable, "enable_criu")+
			": has no effect, CheckpointContainer returns Unimplemented; keep containerd on nodes that need checkpoints")
	}
	return notes
}

// shims returns a line with the handlers of each shim. If the shim of the default handler is
// runc's, the line says how to use the lite shim instead.
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
		line += fmt.Sprintf("; pods of the default handler have one process more than with the lite shim, and their logs are not "+
			"written while the daemon is down; set %s = %q to use the lite shim", KeyPath(RuntimeTable, "containerd", "runtimes", name, "runtime_type"), LiteRuntimeType)
	}
	return line
}
