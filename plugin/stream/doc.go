// SPDX-License-Identifier: Apache-2.0

// Package stream is the streaming server of the CRI: exec, attach and port-forward over SPDY or
// WebSocket. A caller gets a URL by gRPC. The URL works once, within a minute.
//
// The protocols are those of k8s.io/cri-streaming, and the two WebSocket protocols of current
// clients that this library lacks (websocket.go). The package has its own HTTP server around them
// because the library's server does not report that a client has disconnected: here the context of
// a stream ends with its connection, so that an abandoned stream leaves nothing behind. The package
// calls container for exec and attach, and pod and network to reach the ports of a pod.
//
// The address and the certificate are those of an endpoint, which a reload replaces (endpoint.go).
//
// Locking: pending.mu guards the URLs that are not used yet, and is held for map operations only.
package stream
