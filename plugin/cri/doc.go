// SPDX-License-Identifier: Apache-2.0

// Package cri implements the gRPC services of the CRI: it decodes a request, calls one manager of
// [Deps] and encodes the answer. It makes no decisions.
//
// intercept.go does what all RPCs have in common: it rejects calls until pods and containers are
// recovered, sets containerd's namespace, writes the log line, and converts error classes to gRPC
// codes. The package has no locks of its own.
package cri
