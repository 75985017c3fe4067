// SPDX-License-Identifier: Apache-2.0

// Package harness is the bench that the integration suites, the demo and `make dev` stand on. It
// starts, in a temporary root with a CNI bridge and sockets of its own: an image registry on
// 127.0.0.1, and the daemon under test, which is containerd-lite or, as a control, stock
// containerd. It hands out clients for both and ends with the leak check: what the machine held
// before is what it holds after.
//
// A [Bench] owns everything under its root, its bridge and the processes it started; nothing else
// on the machine is changed, but for the sysctl and iptables entries that CNI plugins make, which
// Close restores. A Bench is used from one goroutine at a time; the clients it hands out are safe
// for concurrent use.
package harness
