// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// panicSaver panics while the error of its disk is errPanic.
type panicSaver struct{ *disk }

var errPanic = errors.New("panic")

func (b panicSaver) Save(ctx context.Context, n note) error {
	err := b.disk.Save(ctx, n)
	if errors.Is(err, errPanic) {
		panic("boom")
	}
	return err
}

// A Saver that panics is like one that fails: a change is refused, a fact is saved later, and no
// record stays locked.
func TestPanicOfTheSaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{saved: map[string]note{}}
		s := New("note", panicSaver{d}.Save, func(note, note) {})
		if err := s.Put(note{id: "a", name: "x"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := guard.Start(ctx, "save late", func() error { s.SaveLate(ctx); return nil })
		d.fail(errPanic)
		if _, err := s.Update(ctx, "a", func(n note) (note, error) { n.count = 1; return n, nil }); !errdefs.IsInternal(err) {
			t.Errorf("Update = %v, want Internal", err)
		}
		_, saved, err := s.Settle(ctx, "a", counted(7))
		if err != nil || isClosed(saved) {
			t.Errorf("Settle = %v, saved %v; want the fact shown and not saved", err, isClosed(saved))
		}
		if got, _ := s.Get("a"); got.count != 7 {
			t.Errorf("readers see %v", got)
		}
		d.fail(nil)
		<-saved
		if d.count("a") != 7 {
			t.Errorf("saved %d", d.count("a"))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("SaveLate: %v", err)
		}
	})
}

// A panic of the watcher does not prevent the change from being shown and saved.
func TestPanicOfTheWatcher(t *testing.T) {
	d := &disk{saved: map[string]note{}}
	s := New("note", d.Save, func(note, note) { panic("boom") })
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, saved, err := s.Settle(t.Context(), "a", counted(7)); err != nil || !isClosed(saved) || d.count("a") != 7 {
		t.Errorf("Settle = %v, saved %d", err, d.count("a"))
	}
	s.Forget("a")
	if _, err := s.Get("a"); !errdefs.IsNotFound(err) {
		t.Errorf("after Forget: %v", err)
	}
}

// A panic in Select leaves no lock held.
func TestPanicInASelection(t *testing.T) {
	s, _ := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	err := guard.Call(t.Context(), "select", func() error { s.Select(func(note) bool { panic("boom") }); return nil })
	if !errdefs.IsInternal(err) {
		t.Errorf("Select: %v", err)
	}
	s.Forget("a")
}
