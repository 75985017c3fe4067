// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

type note struct {
	id, name string
	owner    string
	count    int
}

func (n note) Key() (string, string) { return n.id, n.name }
func (n note) Owner() string         { return n.owner }

// disk keeps the saved records and can be made to fail.
type disk struct {
	mu    sync.Mutex
	saved map[string]note
	err   error
}

func (d *disk) Save(_ context.Context, n note) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	d.saved[n.id] = n
	return nil
}

func newStore() (*Store[note], *disk) {
	d := &disk{saved: map[string]note{}}
	return New("note", d.Save, func(note, note) {}), d
}

func TestReserveKeepsNameAndIDUnique(t *testing.T) {
	s, _ := newStore()
	if err := s.Reserve("a1", "web"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve("a2", "web"); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second reservation of a name: %v, want AlreadyExists", err)
	}
	if err := s.Reserve("a1", "db"); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second reservation of an id: %v, want AlreadyExists", err)
	}
	s.Forget("a1")
	if err := s.Reserve("a2", "web"); err != nil {
		t.Errorf("name after Forget: %v", err)
	}
}

func TestReservedRecordIsInvisible(t *testing.T) {
	s, _ := newStore()
	if err := s.Reserve("a1", "web"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("a1"); !errdefs.IsNotFound(err) {
		t.Errorf("Get of a reservation: %v, want NotFound", err)
	}
	if got := s.List(); len(got) != 0 {
		t.Errorf("List shows a reservation: %v", got)
	}
	_, err := s.Update(t.Context(), "a1", func(n note) (note, error) { return n, nil })
	if !errdefs.IsNotFound(err) {
		t.Errorf("Update of a reservation: %v, want NotFound", err)
	}
}

func TestGetByPrefix(t *testing.T) {
	s, _ := newStore()
	for _, n := range []note{{id: "abc1", name: "x"}, {id: "abd2", name: "y"}} {
		if err := s.Put(n); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		id    string
		want  string
		class func(error) bool
	}{
		{id: "abc1", want: "abc1"},
		{id: "abd", want: "abd2"},
		{id: "ab", class: errdefs.IsInvalidArgument},
		{id: "", class: errdefs.IsInvalidArgument},
		{id: "zz", class: errdefs.IsNotFound},
	} {
		got, err := s.Get(tc.id)
		if tc.class != nil {
			if !tc.class(err) {
				t.Errorf("Get(%q) = %v, %v", tc.id, got, err)
			}
			continue
		}
		if err != nil || got.id != tc.want {
			t.Errorf("Get(%q) = %v, %v; want %s", tc.id, got, err, tc.want)
		}
	}
}

func TestOwnedBy(t *testing.T) {
	s, _ := newStore()
	owned := func(owner, want string) {
		t.Helper()
		got := ""
		for _, n := range s.OwnedBy(owner) {
			got += n.id
		}
		if got != want {
			t.Errorf("records of %q: %q, want %q", owner, got, want)
		}
	}
	for _, n := range []note{{id: "c", name: "c", owner: "p"}, {id: "a", name: "a", owner: "p"}, {id: "b", name: "b", owner: "q"}, {id: "d", name: "d"}} {
		if err := s.Put(n); err != nil {
			t.Fatal(err)
		}
	}
	owned("p", "ac")
	owned("q", "b")
	owned("", "")
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count = 1; return n, nil }); err != nil {
		t.Fatal(err)
	}
	if got := s.OwnedBy("p")[0].count; got != 1 {
		t.Errorf("after Update: count %d, want that of the new record", got)
	}
	for _, id := range []string{"a", "b", "d"} {
		s.Forget(id)
	}
	owned("p", "c")
	owned("q", "")
	if len(s.byOwner) != 1 {
		t.Errorf("the index has %d owners, want only the one that still has a record", len(s.byOwner))
	}
}

func TestUpdateSavesBeforeItShows(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	d.err = errors.New("disk full")
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count = 7; return n, nil }); !errors.Is(err, d.err) {
		t.Errorf("Update = %v, want the error of the Saver", err)
	}
	if got, _ := s.Get("a"); got.count != 0 {
		t.Errorf("a record that was not saved is shown: %+v", got)
	}
	d.err = nil
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count = 8; return n, nil }); err != nil {
		t.Fatal(err)
	}
	got, _ := s.Get("a")
	if diff := cmp.Diff(d.saved["a"], got, cmp.AllowUnexported(note{})); diff != "" || got.count != 8 {
		t.Errorf("saved and shown differ (-saved +shown):\n%s", diff)
	}
}

func TestUpdateKeepsTheRecordWhenChangeFails(t *testing.T) {
	s, _ := newStore()
	if err := s.Put(note{id: "a", name: "x", count: 1}); err != nil {
		t.Fatal(err)
	}
	refuse := errors.New("no")
	got, err := s.Update(t.Context(), "a", func(n note) (note, error) { return note{}, refuse })
	if !errors.Is(err, refuse) || got.count != 1 {
		t.Errorf("Update = %+v, %v; want the old record and the refusal", got, err)
	}
}

func TestConcurrentUpdatesAreNotLost(t *testing.T) {
	s, _ := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count++; return n, nil }); err != nil {
				t.Error(err)
			}
			s.List()
		})
	}
	wg.Wait()
	if got, _ := s.Get("a"); got.count != 50 {
		t.Errorf("count = %d, want 50", got.count)
	}
}

func TestForgottenRecordCannotComeBack(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	s.Forget("a")
	s.Forget("a")
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { n.count++; return n, nil }); !errdefs.IsNotFound(err) {
		t.Errorf("Update after Forget = %v, want NotFound", err)
	}
	if len(d.saved) != 0 {
		t.Error("a forgotten record was saved again")
	}
}

// TestDeleteEndsSaves checks that a record is not saved during and after its deletion.
func TestDeleteEndsSaves(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("a", func() error { return errdefs.ErrUnknown }); !errdefs.IsUnknown(err) {
		t.Errorf("Delete = %v, want what the function returned", err)
	}
	var late sync.WaitGroup
	err := s.Delete("a", func() error {
		late.Go(func() {
			if _, _, err := s.Settle(t.Context(), "a", func(n note) note { n.count++; return n }); !errdefs.IsNotFound(err) {
				t.Errorf("Settle during Delete = %v, want NotFound", err)
			}
		})
		runtime.Gosched()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	late.Wait()
	if len(d.saved) != 0 {
		t.Error("a deleted record was saved")
	}
	if err := s.Delete("a", nil); err != nil {
		t.Errorf("Delete of an unknown record = %v", err)
	}
	if err := s.Reserve("b", "x"); err != nil {
		t.Errorf("the name of a deleted record: %v", err)
	}
}

func TestListIsOrdered(t *testing.T) {
	s, _ := newStore()
	for i := range 20 {
		id := fmt.Sprintf("%02d", (i*7)%20)
		if err := s.Put(note{id: id, name: id}); err != nil {
			t.Fatal(err)
		}
	}
	list := s.List()
	for i := 1; i < len(list); i++ {
		if list[i-1].id >= list[i].id {
			t.Fatalf("List is not ordered: %v", list)
		}
	}
}

func TestHoldBlocksWriters(t *testing.T) {
	s, _ := newStore()
	if err := s.Put(note{id: "a1", name: "web"}); err != nil {
		t.Fatal(err)
	}
	var changing sync.WaitGroup
	err := s.Hold("a1", func(held note) error {
		changing.Go(func() {
			if _, err := s.Update(t.Context(), "a1", func(n note) (note, error) { n.count++; return n, nil }); err != nil {
				t.Error(err)
			}
		})
		runtime.Gosched()
		if now, err := s.Get("a1"); err != nil || now != held {
			t.Errorf("while it is held the record is %v, %v", now, err)
		}
		return errdefs.ErrUnknown
	})
	if !errdefs.IsUnknown(err) {
		t.Errorf("Hold = %v, want what the function returned", err)
	}
	changing.Wait()
	if now, err := s.Get("a1"); err != nil || now.count != 1 {
		t.Errorf("after it was held the record is %v, %v", now, err)
	}
	s.Forget("a1")
	if err := s.Hold("a1", nil); !errdefs.IsNotFound(err) {
		t.Errorf("Hold of a forgotten record: %v, want NotFound", err)
	}
}

func TestUnchangedRecordIsNotSaved(t *testing.T) {
	s, d := newStore()
	if err := s.Put(note{id: "a", name: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(t.Context(), "a", func(n note) (note, error) { return n, nil }); err != nil {
		t.Fatal(err)
	}
	if len(d.saved) != 0 {
		t.Errorf("saved %v", d.saved)
	}
}

// The watcher is called for each change that readers see, and for nothing else.
func TestWatcherGetsEachChange(t *testing.T) {
	type change struct{ before, after note }
	var got []change
	d := &disk{saved: map[string]note{}}
	s := New("note", d.Save, func(before, after note) { got = append(got, change{before, after}) })
	one, two := note{id: "a", name: "web", count: 1}, note{id: "a", name: "web", count: 2}
	if err := s.Reserve("b", "db"); err != nil {
		t.Fatal(err)
	}
	s.Forget("b") // readers never saw it
	if err := s.Put(one); err != nil {
		t.Fatal(err)
	}
	set := func(n note) func(note) (note, error) { return func(note) (note, error) { return n, nil } }
	_, _ = s.Update(t.Context(), "a", set(one)) // no change
	d.err = errors.New("disk full")
	_, _ = s.Update(t.Context(), "a", set(two)) // not saved
	d.err = nil
	if _, err := s.Update(t.Context(), "a", set(two)); err != nil {
		t.Fatal(err)
	}
	s.Forget("a")
	s.Forget("a")
	want := []change{{note{}, one}, {one, two}, {two, note{}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(change{}, note{})); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// With concurrent writers, each change that the watcher gets starts from the previous one, and
// readers see the record that the watcher gets.
func TestWatcherSeesChangesInOrder(t *testing.T) {
	var s *Store[note]
	last := note{}
	s = New("note", (&disk{saved: map[string]note{}}).Save, func(before, after note) {
		if before != last {
			t.Errorf("a change from %v follows %v", before, last)
		}
		if seen, err := s.Get("a"); after != (note{}) && seen != after || after == (note{}) && !errdefs.IsNotFound(err) {
			t.Errorf("a change to %v while readers see %v, %v", after, seen, err)
		}
		last = after
	})
	if err := s.Put(note{id: "a", name: "web"}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				_, _ = s.Update(t.Context(), "a", func(n note) (note, error) { n.count++; return n, nil })
			}
		})
	}
	all.Wait()
	s.Forget("a")
	if last != (note{}) {
		t.Errorf("the last change is to %v", last)
	}
}

func TestSelect(t *testing.T) {
	s, _ := newStore()
	for i, id := range []string{"c", "a", "b"} {
		if err := s.Put(note{id: id, name: id, count: i}); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Select(func(n note) bool { return n.count < 2 })
	if diff := cmp.Diff([]note{{id: "a", name: "a", count: 1}, {id: "c", name: "c"}}, got, cmp.AllowUnexported(note{})); diff != "" {
		t.Errorf("selected (-want +got):\n%s", diff)
	}
}
