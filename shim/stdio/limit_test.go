// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openFiles returns the number of open files of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// limitFiles limits this process to n more open files until the returned function is called.
func limitFiles(t *testing.T, n int) (restore func()) {
	t.Helper()
	// The kernel assigns the lowest free descriptors, and RLIMIT_NOFILE limits the descriptor
	// number.
	var free, top int
	for fd := 0; free < n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			free++
		}
		top = fd + 1
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(top), Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}

// TestTooManyFiles checks that Close closes all files if Open fails at any file.
func TestTooManyFiles(t *testing.T) {
	stdin, _ := fifo(t)
	stdout, _ := fifo(t)
	stderr, _ := fifo(t)
	children := newReaper(t)
	for name, cfg := range map[string]Config{
		"pipes":    {Stdin: stdin, Stdout: stdout, Stderr: stderr},
		"terminal": {Stdin: stdin, Stdout: stdout, Terminal: true},
		"logger":   {Stdout: "binary:///bin/cat"},
	} {
		t.Run(name, func(t *testing.T) {
			before, failed := openFiles(t), 0
			for n := 0; ; n++ {
				streams := New(cfg)
				restore := limitFiles(t, n)
				err := streams.Open(t.Context(), Owner{ID: "web", Namespace: "ns"}, children)
				restore()
				_ = streams.Close()
				if got := openFiles(t); got != before {
					t.Fatalf("limit of %d files: %d are still open, %v", n, got-before, err)
				}
				if err == nil {
					break
				}
				failed++
			}
			if failed == 0 {
				t.Error("Open did not fail at any limit")
			}
		})
	}
}
