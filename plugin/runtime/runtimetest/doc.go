// SPDX-License-Identifier: Apache-2.0

// Package runtimetest fakes containerd for tests of the packages that use plugin/runtime. Only
// tests import it.
//
// Calls that change something are steps of package fault: a test can let each fail, panic or block,
// and finds it in the trace. The documentation of a method quotes its step, and names the resource
// that it creates or removes. The lock of the fault.World protects the exported maps of a
// [Containerd]; a test sets the other fields before it starts a manager.
package runtimetest
