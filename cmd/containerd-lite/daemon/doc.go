// SPDX-License-Identifier: Apache-2.0

// Package daemon is the command line of containerd-lite. Everything but the CRI is containerd's:
// the commands, config.toml, the sockets, the other plugins.
//
// On top of containerd's command this one checks config.toml before anything starts and names file
// and line of what is wrong in it (check.go), reads it again at SIGHUP (reload.go), and answers to
// systemd's watchdog (watchdog.go). It calls containerd's command and server, and plugin only to
// have it registered. It has no locks: what runs beside the daemon shares nothing with it.
package daemon
