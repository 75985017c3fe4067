// SPDX-License-Identifier: Apache-2.0

// Package stream is the streaming server of the CRI: exec, attach and
// port-forward over SPDY or WebSocket. A caller asks for a URL by gRPC; the URL
// works once, within a minute.
//
// The protocols are those of k8s.io/cri-streaming, and the two WebSocket ones of
// today's clients that it lacks (websocket.go). The package has its own HTTP
// server around them because the library's does not tell when a client has
// gone: here the context of a stream ends with its connection, so that nothing
// of an abandoned stream is left. It calls container for exec and attach, and
// pod and network to reach the ports of a pod.
//
// Locking: pending.mu guards the URLs given out and is held for map operations
// only.
package stream
