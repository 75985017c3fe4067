// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path/filepath"
	"testing"
)

// TestPanicInNotify ends the notifications of one watch only: another watch still reports kills,
// and Kills still works.
func TestPanicInNotify(t *testing.T) {
	root := tree(t, map[string]string{"a/memory.events": counted(0), "b/memory.events": counted(0)})
	var a Notifier
	watch := func(name string, notify func()) *OOMWatch {
		w, err := (&Group{Paths: map[string]string{"": "/" + name}, root: root}).WatchOOM(t.Context(), &a, notify)
		if err != nil || w.NotifyErr() != nil {
			t.Fatal(err, w.NotifyErr())
		}
		t.Cleanup(w.Close)
		return w
	}
	panicked, reported := make(chan struct{}), make(chan struct{}, 10)
	broken := watch("a", func() { defer close(panicked); panic("boom") })
	watch("b", func() { reported <- struct{}{} })
	for _, name := range []string{"a", "b"} {
		if err := write(filepath.Join(root, name, "memory.events"), counted(1)); err != nil {
			t.Fatal(err)
		}
	}
	<-panicked
	<-reported
	if got := broken.Kills(); got != 1 {
		t.Errorf("%d kills, want 1", got)
	}
}

// TestPanicInNotifyLegacy does the same on v1, where each watch has its own goroutine.
func TestPanicInNotifyLegacy(t *testing.T) {
	w, reported, signal := legacyWatch(t)
	panicked := make(chan struct{})
	setNotify(w, func() { defer close(panicked); panic("boom") })
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	signal()
	<-panicked
	w.Close()
	setNotify(w, func() { reported <- struct{}{} })
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"); err != nil {
		t.Fatal(err)
	}
	w.Check() // as at the end of the container
	<-reported
}

func setNotify(w *OOMWatch, notify func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notify = notify
}
