// SPDX-License-Identifier: Apache-2.0

// Package nofile has the limit of open files with which this process was started. Package syscall
// raises the soft limit when it is initialized, restores it only for the processes that it starts,
// and has no function that returns it. This package imports nothing, so that it is initialized
// first.
package nofile
