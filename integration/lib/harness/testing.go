// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"strings"
	"testing"
)

// Start starts a bench for a test, with the options of the environment. The test is skipped, with
// the reason, on a host that lacks a required program, and it fails if Close finds a leak. Only one
// test at a time has a bench: the others wait.
func Start(t *testing.T) *Bench {
	t.Helper()
	return StartWith(t, FromEnv())
}

// StartWith is [Start] with options set by the test.
func StartWith(t *testing.T, o Options) *Bench {
	t.Helper()
	repo, err := FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	if missing := repo.Missing(o); len(missing) > 0 {
		t.Skipf("this host lacks %s", strings.Join(missing, ", "))
	}
	lock, err := LockMachine()
	if err != nil {
		t.Fatal(err)
	}
	// Closing the file releases the lock. Cleanup functions run in reverse order: this one is the
	// last.
	t.Cleanup(func() { lock.Close() })
	b, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the daemon's log:\n%s", b.Daemon.LogTail(30))
		}
		if err := b.Close(After(t)); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Client returns a client of the daemon to a test, after it has pulled images.
func (b *Bench) Client(t *testing.T, images ...string) *CRI {
	t.Helper()
	client, err := b.CRI()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	for _, image := range images {
		if err := client.Pull(t.Context(), image); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// NoLeaks runs a subtest and fails it if it leaves resources behind.
func (b *Bench) NoLeaks(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		before, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// The cleanup functions of the subtest run before this one.
		t.Cleanup(func() {
			if err := b.CheckSince(After(t), before); err != nil {
				t.Error(err)
			}
		})
		test(t)
	})
}

// Port returns a TCP port that is free, for a test.
func Port(t *testing.T) int32 {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// After returns a context for cleanup functions, which run after the test's own context is
// canceled.
func After(t *testing.T) context.Context {
	t.Helper()
	return context.WithoutCancel(t.Context())
}
