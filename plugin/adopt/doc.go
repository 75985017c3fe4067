// SPDX-License-Identifier: Apache-2.0

// Package adopt converts the pods and containers of containerd's built-in CRI to records, so that a
// node can change from containerd to containerd-lite while its pods run (docs/swap.md).
//
// A conversion reads and writes nothing but the answer: containerd's metadata, the status file that
// the built-in CRI keeps of each container, and the state of the tasks. It is repeated at each
// start, until a record changes and is saved beside the metadata of the built-in CRI. So an
// interrupted start loses nothing, and the built-in CRI finds everything that it needs.
//
// [Store] stands between the managers and package runtime. It calls paths and config, too. It has
// no locks: its lists are read during recovery.
package adopt
