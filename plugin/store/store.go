// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Record is what a Store keeps. Implementations are immutable: a change makes
// a new value.
type Record interface {
	comparable
	// Key returns the id, unique for ever, and the name, unique among the
	// records that exist at one time.
	Key() (id, name string)
}

// Saver writes records to their durable home.
type Saver[T Record] interface {
	Save(ctx context.Context, record T) error
}

// Watcher is told of a change: the record before it and after it, the zero value
// where there was or is none. It may read the store, but not change it, and must
// not block.
type Watcher[T Record] func(before, after T)

// Store is an index of records of one kind.
type Store[T Record] struct {
	kind    string
	saver   Saver[T]
	changed Watcher[T]

	mu     sync.RWMutex
	byID   map[string]*entry[T]
	byName map[string]string // name → id, reserved names included

	late late
}

// entry is the place of one record. The record is nil while only its name is
// reserved.
type entry[T Record] struct {
	write  sync.Mutex
	name   string
	record atomic.Pointer[T]
	gone   bool // set under write when the record was deleted
	// unsaved is closed when the home has the record that readers see, or when the
	// record is gone; nil while nothing is to be saved. write guards it.
	unsaved chan struct{}
}

// New returns an empty store. kind ("pod", "container") names its records in
// errors.
func New[T Record](kind string, saver Saver[T], changed Watcher[T]) *Store[T] {
	return &Store[T]{
		kind:    kind,
		saver:   saver,
		changed: changed,
		byID:    make(map[string]*entry[T]),
		byName:  make(map[string]string),
		late:    newLate(),
	}
}

// Reserve claims id and name for a record that is being made. It returns
// AlreadyExists, naming the holder, when either is taken.
func (s *Store[T]) Reserve(id, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder, taken := s.byName[name]; taken {
		return fmt.Errorf("%s name %q belongs to %s: %w", s.kind, name, holder, errdefs.ErrAlreadyExists)
	}
	if _, taken := s.byID[id]; taken {
		return fmt.Errorf("%s id %s: %w", s.kind, id, errdefs.ErrAlreadyExists)
	}
	s.byID[id] = &entry[T]{name: name}
	s.byName[name] = id
	return nil
}

// Put shows a record that is already saved. Its id and name are reserved if
// they were not before.
func (s *Store[T]) Put(record T) error {
	id, name := record.Key()
	e := s.entry(id)
	if e == nil {
		if err := s.Reserve(id, name); err != nil {
			return err
		}
		e = s.entry(id)
	}
	e.write.Lock()
	defer e.write.Unlock()
	before := e.current()
	e.record.Store(&record)
	s.tell(before, record)
	return nil
}

// Get returns the record with this id. A prefix of an id is enough when only
// one record has it, as crictl users expect. It returns NotFound for an unknown
// id and InvalidArgument for an ambiguous prefix.
func (s *Store[T]) Get(id string) (T, error) {
	if e := s.entry(id); e != nil {
		if r := e.record.Load(); r != nil {
			return *r, nil
		}
	}
	return s.find(id)
}

func (s *Store[T]) find(prefix string) (found T, err error) {
	if prefix == "" {
		return found, fmt.Errorf("%s id is empty: %w", s.kind, errdefs.ErrInvalidArgument)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	matches := 0
	for id, e := range s.byID {
		if r := e.record.Load(); r != nil && strings.HasPrefix(id, prefix) {
			found = *r
			matches++
		}
	}
	switch matches {
	case 0:
		return found, fmt.Errorf("%s %.80q: %w", s.kind, prefix, errdefs.ErrNotFound)
	case 1:
		return found, nil
	}
	return found, fmt.Errorf("%s id %q is a prefix of %d ids (give more of it): %w", s.kind, prefix, matches, errdefs.ErrInvalidArgument)
}

// List returns every record, ordered by id.
func (s *Store[T]) List() []T {
	return s.Select(func(T) bool { return true })
}

// Select returns the records that match, ordered by id.
func (s *Store[T]) Select(match func(T) bool) []T {
	list := []T{}
	s.mu.RLock()
	for _, e := range s.byID {
		if r := e.record.Load(); r != nil {
			list = append(list, *r)
		}
	}
	s.mu.RUnlock()
	list = slices.DeleteFunc(list, func(r T) bool { return !match(r) })
	slices.SortFunc(list, func(a, b T) int {
		idA, _ := a.Key()
		idB, _ := b.Key()
		return strings.Compare(idA, idB)
	})
	return list
}

// Update replaces the record with what change returns: saved first, shown
// after. When change or the home fails the record stays as it was; a change
// that returns what it was given saves nothing. Only one change to a record runs
// at a time; change must not block.
func (s *Store[T]) Update(ctx context.Context, id string, change func(T) (T, error)) (T, error) {
	var none T
	e, current, err := s.lock(id)
	if err != nil {
		return none, err
	}
	defer e.write.Unlock()
	next, err := change(current)
	if err != nil {
		return current, err
	}
	if next == current {
		return next, nil
	}
	if err := s.save(ctx, next); err != nil {
		return current, fmt.Errorf("%s %s: save record: %w", s.kind, id, err)
	}
	s.settled(id, e)
	e.record.Store(&next)
	s.tell(current, next)
	return next, nil
}

// save writes a record to its home. Settled facts are saved late if it panics, as after an error.
func (s *Store[T]) save(ctx context.Context, record T) error {
	return guard.Call(ctx, "save "+s.kind, func() error { return s.saver.Save(ctx, record) })
}

// tell tells the watcher of a change. It is done, even if the watcher panics.
func (s *Store[T]) tell(before, after T) {
	_ = guard.Call(context.Background(), "announce "+s.kind, func() error { s.changed(before, after); return nil })
}

// lock returns the entry of a record that readers see, with its write lock held, and
// the record. It returns NotFound for an unknown id.
func (s *Store[T]) lock(id string) (_ *entry[T], current T, err error) {
	if e := s.entry(id); e != nil {
		e.write.Lock()
		if r := e.record.Load(); r != nil && !e.gone {
			return e, *r, nil
		}
		e.write.Unlock()
	}
	return nil, current, fmt.Errorf("%s %q: %w", s.kind, id, errdefs.ErrNotFound)
}

// Hold calls do with a record, which stays as it is until do returns. do must not
// block. It returns NotFound for an unknown id, else what do returns.
func (s *Store[T]) Hold(id string, do func(T) error) error {
	e, current, err := s.lock(id)
	if err != nil {
		return err
	}
	defer e.write.Unlock()
	return do(current)
}

// Forget removes a record, or a reservation, whose durable home is gone, and
// frees its name. Forgetting twice is harmless.
func (s *Store[T]) Forget(id string) {
	e := s.entry(id)
	if e == nil {
		return
	}
	e.write.Lock()
	defer e.write.Unlock()
	if e.gone {
		return
	}
	e.gone = true
	s.settled(id, e)
	s.mu.Lock()
	delete(s.byID, id)
	delete(s.byName, e.name)
	s.mu.Unlock()
	var none T
	if last := e.current(); last != none {
		s.tell(last, none)
	}
}

// current returns the entry's record, the zero value if it has none.
func (e *entry[T]) current() (r T) {
	if p := e.record.Load(); p != nil {
		return *p
	}
	return r
}

func (s *Store[T]) entry(id string) *entry[T] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[id]
}
