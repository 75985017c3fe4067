// SPDX-License-Identifier: Apache-2.0

// Package harness starts a test bench for the integration suites, the demo and `make dev`. In a
// temporary root, with a CNI bridge and sockets of its own, it starts an image registry on
// 127.0.0.1 and the daemon under test: containerd-lite or, as a control, stock containerd. The
// bench also compares with CRI-O. The package returns clients for the registry and the daemon.
// Close runs the leak check: the host must hold the same resources as before.
//
// A [Bench] owns everything under its root, its bridge and the processes that it started. It
// changes nothing else on the host, except the sysctl and iptables entries that CNI plugins make;
// Close restores those. A Bench is used from one goroutine at a time; the clients that it returns
// are safe for concurrent use.
package harness
