// SPDX-License-Identifier: Apache-2.0

// Package nri calls the plugins of the Node Resource Interface (docs/nri.md): it sends them each
// step in the life of pods and containers, and returns the changes that they request.
//
// It takes values of NRI's API and not the records of its callers, pod and container. They pass a
// [Subject], which builds these values only if a plugin is connected. Without plugins, a call takes
// two read locks, and the creation of an object adds and removes an entry of a map. Of the plugin
// it imports only config and guard.
//
// [Plugins.Start] connects plugins to the [Node], through which they see and change pods and
// containers outside of a call. Before Start, and if NRI is disabled, all calls do nothing.
//
// Locking: NRI's adaptation calls one plugin at a time, under its own lock. It sends Synchronize to
// a plugin that connects while no call is in progress (BlockPluginSync). So a plugin gets each
// object once: in Synchronize, or by calls. A lock is held only while plugins are called, and never
// while the node is changed: a change may wait for a container whose start waits for plugins.
package nri
