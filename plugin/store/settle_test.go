// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/errdefs"
)

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *disk) count(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved[id].count
}

func counted(n int) func(note) note {
	return func(r note) note { r.count = n; return r }
}

// isClosed reports whether a channel is closed: the record is saved.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// newFullStore returns a store with the note "a" whose disk is full.
func newFullStore(t *testing.T) (*Store[note], *disk) {
	t.Helper()
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	d.fail(errors.New("disk full"))
	return s, d
}

func TestSettleShowsAnUnsavedFact(t *testing.T) {
	s, d := newFullStore(t)
	next, saved, err := s.Settle(t.Context(), "a", counted(7))
	if err != nil || next.count != 7 || isClosed(saved) {
		t.Fatalf("Settle = %v, %v, saved %v", next, err, isClosed(saved))
	}
	if got, _ := s.Get("a"); got.count != 7 {
		t.Errorf("readers see %v", got)
	}
	if err := s.Flush(t.Context(), "a"); !errors.Is(err, d.err) {
		t.Errorf("Flush = %v, want the error of the Saver", err)
	}
	d.fail(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.SaveLate(ctx); close(ended) }()
	<-saved
	if d.count("a") != 7 {
		t.Errorf("saved %d", d.count("a"))
	}
	cancel()
	<-ended
}

// A late save and an Update both save the newest record.
func TestUpdateSavesAnUnsavedFact(t *testing.T) {
	s, d := newFullStore(t)
	_, saved, _ := s.Settle(t.Context(), "a", counted(7))
	d.fail(nil)
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count++; return n, nil }); err != nil {
		t.Fatal(err)
	}
	if d.count("a") != 8 || !isClosed(saved) {
		t.Errorf("saved %d, channel closed %v", d.count("a"), isClosed(saved))
	}
	if _, saved, _ = s.Settle(t.Context(), "a", counted(8)); !isClosed(saved) {
		t.Error("the record is not saved after a Settle without a change")
	}
}

// Waits for a save end when the record is removed.
func TestForgetEndsALateSave(t *testing.T) {
	s, _ := newFullStore(t)
	_, saved, _ := s.Settle(t.Context(), "a", counted(7))
	s.Forget("a")
	<-saved
	if left := s.unsaved.list(); len(left) != 0 {
		t.Errorf("still to be saved: %v", left)
	}
	if err := s.Flush(t.Context(), "a"); err != nil {
		t.Errorf("Flush of an unknown record: %v", err)
	}
	if _, _, err := s.Settle(t.Context(), "a", counted(1)); !errdefs.IsNotFound(err) {
		t.Errorf("Settle of an unknown record: %v", err)
	}
}

// When the daemon ends, it retries once more.
func TestSaveLateRetriesAtItsEnd(t *testing.T) {
	s, d := newFullStore(t)
	_, saved, _ := s.Settle(t.Context(), "a", counted(7))
	d.fail(nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.SaveLate(ended)
	<-saved
}
