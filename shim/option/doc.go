// SPDX-License-Identifier: Apache-2.0

// Package option reads the runtime options of a task in every form in which containerd passes them.
// It has no state.
//
// ctr, nerdctl, Docker and a handler of type io.containerd.runc.v2 send containerd.runc.v1.Options.
// The built-in CRI sends runtimeoptions.v1.Options for any other runtime type: the handler's
// options table as TOML, or the path of a file with such a table.
package option
