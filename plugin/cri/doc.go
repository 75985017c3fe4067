// SPDX-License-Identifier: Apache-2.0

// Package cri is the gRPC face of the plugin: it decodes a request, calls one
// manager and encodes the answer. It decides nothing.
//
// What all RPCs have in common (the ready gate, containerd's namespace, the
// log line, gRPC codes) is done once, in intercept.go. The package has no locks
// of its own.
package cri
