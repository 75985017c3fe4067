// SPDX-License-Identifier: Apache-2.0

// Package daemon is the command line of containerd-lite. Everything except the CRI is containerd's:
// the commands, config.toml, the sockets, the other plugins.
//
// In addition to containerd's command, the package checks config.toml before anything starts and
// reports the file and line of each problem (check.go), reloads it (reload.go), shows and collects
// what the running daemon knows (status.go, dump.go), pulls images (pull.go), feeds systemd's
// watchdog (watchdog.go), and returns memory to the system when the daemon is idle (memory.go). It
// calls containerd's command and server. It imports package plugin to register it, and to call its
// status service. It has no locks: all reloads run in one goroutine.
package daemon
