// SPDX-License-Identifier: Apache-2.0

// Package network gives pods their namespaces and their network.
//
// A [Pinner] makes the network, IPC and UTS namespaces of a pod and keeps them
// alive by bind mounts, so that a pod needs no process. [Network] runs CNI
// plugins to attach a network namespace and to detach it, and follows the CNI
// configuration directories. [InNetNS] runs code inside a namespace.
//
// The package owns the files and mounts of pinned namespaces; what CNI plugins
// make they own themselves. It calls no other package of the plugin. A Pinner
// and a Network may be used by many goroutines; nothing here holds a lock
// while a CNI plugin runs.
package network
