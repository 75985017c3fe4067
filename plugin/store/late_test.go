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

// isClosed reports whether a record is saved.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestSettleShowsWhatCannotBeSaved(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	d.fail(errors.New("disk full"))
	next, saved, err := s.Settle(t.Context(), "a", counted(7))
	if err != nil || next.count != 7 || isClosed(saved) {
		t.Fatalf("Settle = %v, %v, saved %v", next, err, isClosed(saved))
	}
	if got, _ := s.Get("a"); got.count != 7 {
		t.Errorf("readers see %v", got)
	}
	if err := s.Flush(t.Context(), "a"); !errors.Is(err, d.err) {
		t.Errorf("Flush = %v, want the home's error", err)
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

// The newest record is saved, whichever call changes it.
func TestUpdateSavesWhatSettleCouldNot(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	d.fail(errors.New("disk full"))
	_, saved, _ := s.Settle(t.Context(), "a", counted(7))
	d.fail(nil)
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count++; return n, nil }); err != nil {
		t.Fatal(err)
	}
	if d.count("a") != 8 || !isClosed(saved) {
		t.Errorf("saved %d, told %v", d.count("a"), isClosed(saved))
	}
	if _, saved, _ = s.Settle(t.Context(), "a", counted(8)); !isClosed(saved) {
		t.Error("a change that changes nothing is not saved")
	}
}

// Nothing waits for the save of a record that is gone.
func TestForgetEndsALateSave(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	d.fail(errors.New("disk full"))
	_, saved, _ := s.Settle(t.Context(), "a", counted(7))
	s.Forget("a")
	<-saved
	if left := s.late.list(); len(left) != 0 {
		t.Errorf("still to be saved: %v", left)
	}
	if err := s.Flush(t.Context(), "a"); err != nil {
		t.Errorf("Flush of an unknown record: %v", err)
	}
	if _, _, err := s.Settle(t.Context(), "a", counted(1)); !errdefs.IsNotFound(err) {
		t.Errorf("Settle of an unknown record: %v", err)
	}
}

// A daemon that ends offers its late records once more.
func TestSaveLateOffersRecordsAtItsEnd(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	d.fail(errors.New("disk full"))
	_, saved, _ := s.Settle(t.Context(), "a", counted(7))
	d.fail(nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.SaveLate(ended)
	<-saved
}
