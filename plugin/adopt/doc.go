// SPDX-License-Identifier: Apache-2.0

// Package adopt converts the pods and containers of containerd's built-in CRI to records, and adds
// the metadata of the built-in CRI to records of ours, so that a node can change from containerd to
// containerd-lite and back while its pods run (docs/swap.md).
//
// A conversion writes nothing. It reads containerd's metadata, the status file that the built-in
// CRI keeps of each container, and the state of the tasks, and is repeated at each start. Changes
// are saved in the format of the built-in CRI alone. So an interrupted start loses nothing, and the
// built-in CRI finds everything that it needs.
//
// Records of ours are saved together with what the built-in CRI needs. At a start, what the
// built-in CRI has changed meanwhile is added to them (resume.go).
//
// [Store] stands between the managers and package runtime. It calls config and paths, too. Its
// lists are read during recovery; a lock protects what it remembers of pods.
package adopt
