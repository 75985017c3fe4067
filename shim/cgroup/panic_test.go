// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path/filepath"
	"testing"
)

// TestPanicInAnAnnouncement ends the announcements of one watch: its neighbour hears of its kills,
// and what is asked for is answered.
func TestPanicInAnAnnouncement(t *testing.T) {
	root := tree(t, map[string]string{"a/memory.events": counted(0), "b/memory.events": counted(0)})
	var a Announcer
	watch := func(name string, notify func()) *OOMWatch {
		w, err := (&Group{Paths: map[string]string{"": "/" + name}, root: root}).WatchOOM(t.Context(), &a, notify)
		if err != nil || w.Deaf() != nil {
			t.Fatal(err, w.Deaf())
		}
		t.Cleanup(w.Close)
		return w
	}
	panicked, told := make(chan struct{}), make(chan struct{}, 10)
	broken := watch("a", func() { defer close(panicked); panic("boom") })
	watch("b", func() { told <- struct{}{} })
	for _, name := range []string{"a", "b"} {
		if err := write(filepath.Join(root, name, "memory.events"), counted(1)); err != nil {
			t.Fatal(err)
		}
	}
	<-panicked
	<-told
	if got := broken.Kills(); got != 1 {
		t.Errorf("%d kills, want 1", got)
	}
}

// TestPanicInAnAnnouncementLegacy is the same on v1, where each watch has a goroutine of its own.
func TestPanicInAnAnnouncementLegacy(t *testing.T) {
	w, told, announce := legacyWatch(t)
	panicked := make(chan struct{})
	setNotify(w, func() { defer close(panicked); panic("boom") })
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	announce()
	<-panicked
	w.Close()
	setNotify(w, func() { told <- struct{}{} })
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"); err != nil {
		t.Fatal(err)
	}
	w.Check() // as at the end of the container
	<-told
}

func setNotify(w *OOMWatch, notify func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notify = notify
}
