// SPDX-License-Identifier: Apache-2.0

// Package network creates and pins the namespaces of pods, and attaches pods to CNI networks.
//
// A [Pinner] creates the network, IPC, UTS and user namespaces of a pod and keeps them with bind
// mounts, so that a pod needs no process. [Network] runs CNI plugins to attach a network namespace
// and to detach it, and follows changes of the CNI configuration directories. [InNetNS] runs a
// function inside a network namespace.
//
// The package owns the files and mounts of pinned namespaces. The CNI plugins own what they create.
// It calls only paths, and activity and metrics to record. Pinner and Network are safe for
// concurrent use. No lock is held while a CNI plugin runs. The options of a Network are immutable
// settings behind an atomic pointer, which Reload replaces.
package network
