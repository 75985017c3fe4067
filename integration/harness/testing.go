// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"strings"
	"testing"
)

// Start gives a test a bench with the options of the environment. The test is skipped, with the
// reason, on a machine that lacks something, and it fails when the bench finds a leak at its end.
// One test at a time has a bench: the others wait.
func Start(t *testing.T) *Bench {
	t.Helper()
	return StartWith(t, FromEnv())
}

// StartWith is [Start] with options of the test's own.
func StartWith(t *testing.T, o Options) *Bench {
	t.Helper()
	repo, err := FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	if missing := repo.Missing(o); len(missing) > 0 {
		t.Skipf("this machine lacks %s", strings.Join(missing, ", "))
	}
	lock, err := LockMachine()
	if err != nil {
		t.Fatal(err)
	}
	// Closing it unlocks, after everything else.
	t.Cleanup(func() { lock.Close() })
	b, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's last words:\n%s", b.Daemon.LogTail(30))
		}
		if err := b.Close(After(t)); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Client gives a test a client of the daemon, once it has pulled images.
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

// NoLeaks runs a subtest and fails it when something is left that was not there before.
func (b *Bench) NoLeaks(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		before, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// What the test itself cleans up runs before this.
		t.Cleanup(func() {
			if err := b.CheckSince(After(t), before); err != nil {
				t.Error(err)
			}
		})
		test(t)
	})
}

// After returns a context for what a test does in its Cleanup, when its own context has ended.
func After(t *testing.T) context.Context {
	t.Helper()
	return context.WithoutCancel(t.Context())
}
