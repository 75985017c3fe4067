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

// Record is implemented by the values in a Store. They are immutable: a change makes a new value.
type Record interface {
	comparable
	// Key returns the ID, which is never used again, and the name, which is unique among the
	// existing records.
	Key() (id, name string)
	// Owner returns the ID of the object that the record belongs to, or "". It never changes.
	Owner() string
}

// Saver saves a record to durable storage.
type Saver[T Record] func(ctx context.Context, record T) error

// Watcher is called with the record before and after a change; a record that does not exist is the
// zero value. It may read the store but not change it, and must not block.
type Watcher[T Record] func(before, after T)

// Store is an index of records of one kind.
type Store[T Record] struct {
	kind    string
	saver   Saver[T]
	watcher Watcher[T]

	mu      sync.RWMutex
	byID    map[string]*entry[T]
	byName  map[string]string               // name → ID, including reserved names
	byOwner map[string]map[string]*entry[T] // owner → ID → entry

	unsaved unsavedIDs
}

// entry holds one record. The record is nil while only its name is reserved.
type entry[T Record] struct {
	write   sync.Mutex
	name    string
	record  atomic.Pointer[T]
	deleted bool // set with write held, when the record is removed
	// unsaved is closed when the record that readers see is saved, or when it is removed. It is nil
	// if there is nothing to save. write guards it.
	unsaved chan struct{}
}

// New returns an empty store. kind ("pod", "container") names its records in errors, and is their
// field in logs.
func New[T Record](kind string, saver Saver[T], watcher Watcher[T]) *Store[T] {
	return &Store[T]{
		kind:    kind,
		saver:   saver,
		watcher: watcher,
		byID:    make(map[string]*entry[T]),
		byName:  make(map[string]string),
		byOwner: make(map[string]map[string]*entry[T]),
		unsaved: newUnsavedIDs(),
	}
}

// Reserve claims an ID and a name for a record that is being created. It returns AlreadyExists if
// either is taken; the error contains the ID of the record that has the name.
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

// Put shows a record that is already saved. It reserves the ID and the name, unless the caller has
// reserved them.
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
	s.index(id, record.Owner(), e)
	e.record.Store(&record)
	s.notify(before, record)
	return nil
}

// index makes [Store.OwnedBy] find an entry, unless the entry is removed meanwhile.
func (s *Store[T]) index(id, owner string, e *entry[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner == "" || s.byID[id] != e {
		return
	}
	if s.byOwner[owner] == nil {
		s.byOwner[owner] = map[string]*entry[T]{}
	}
	s.byOwner[owner][id] = e
}

// Get returns the record with this ID, or the only record whose ID starts with it, as crictl users
// expect. It returns NotFound for an unknown ID and InvalidArgument for an ambiguous prefix.
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
	return found, fmt.Errorf("%s id %q is a prefix of %d ids (use a longer prefix): %w", s.kind, prefix, matches, errdefs.ErrInvalidArgument)
}

// List returns all records, ordered by ID.
func (s *Store[T]) List() []T {
	return s.Select(func(T) bool { return true })
}

// Select returns the records that match, ordered by ID. match must not block, and must not use the
// store.
func (s *Store[T]) Select(match func(T) bool) []T {
	return sorted(s.collect(func() map[string]*entry[T] { return s.byID }, match))
}

// OwnedBy returns the records of an owner, ordered by ID. It does not look at other records.
func (s *Store[T]) OwnedBy(owner string) []T {
	return sorted(s.collect(func() map[string]*entry[T] { return s.byOwner[owner] }, func(T) bool { return true }))
}

// collect returns the records that match among the entries of an index, without reservations. It
// calls index with mu held.
func (s *Store[T]) collect(index func() map[string]*entry[T], match func(T) bool) []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []T{}
	for _, e := range index() {
		if r := e.record.Load(); r != nil && match(*r) {
			list = append(list, *r)
		}
	}
	return list
}

func sorted[T Record](list []T) []T {
	slices.SortFunc(list, func(a, b T) int {
		idA, _ := a.Key()
		idB, _ := b.Key()
		return strings.Compare(idA, idB)
	})
	return list
}

// Update replaces the record with the result of change. It first saves the new record and then
// shows it. If change or the Saver fails, the record stays as it was. If change returns its
// argument, nothing is saved. Changes to one record run one after another; change must not block.
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
	s.markSaved(id, e)
	e.record.Store(&next)
	s.notify(current, next)
	return next, nil
}

// save saves a record. A panic of the Saver is an error like any other.
func (s *Store[T]) save(ctx context.Context, record T) error {
	return guard.Call(ctx, "save "+s.kind, func() error { return s.saver(ctx, record) })
}

// notify calls the watcher. A panic of the watcher does not undo the change.
func (s *Store[T]) notify(before, after T) {
	_ = guard.Call(context.Background(), "watch "+s.kind, func() error { s.watcher(before, after); return nil })
}

// lock returns the entry of a record with its write lock held, and the record that readers see. It
// returns NotFound for an unknown ID.
func (s *Store[T]) lock(id string) (_ *entry[T], current T, err error) {
	if e := s.entry(id); e != nil {
		e.write.Lock()
		if r := e.record.Load(); r != nil && !e.deleted {
			return e, *r, nil
		}
		e.write.Unlock()
	}
	return nil, current, fmt.Errorf("%s %q: %w", s.kind, id, errdefs.ErrNotFound)
}

// Hold calls do with a record, which does not change until do returns. do must not block. Hold
// returns NotFound for an unknown ID, otherwise the result of do.
func (s *Store[T]) Hold(id string, do func(T) error) error {
	e, current, err := s.lock(id)
	if err != nil {
		return err
	}
	defer e.write.Unlock()
	return do(current)
}

// Delete calls do, which deletes a record from durable storage with everything that a save writes.
// If do succeeds, Delete drops the record and frees its name. A save runs either before do, or not
// at all, so it can't write again what do has deleted. do must not change the record. Delete
// returns the result of do, and nil for an unknown ID.
func (s *Store[T]) Delete(id string, do func() error) error {
	e, _, err := s.lock(id)
	if err != nil {
		return nil
	}
	defer e.write.Unlock()
	if err := do(); err != nil {
		return err
	}
	s.drop(id, e)
	return nil
}

// Forget drops a reservation, or a record of which nothing was saved, and frees its name.
// Forgetting twice is harmless.
func (s *Store[T]) Forget(id string) {
	e := s.entry(id)
	if e == nil {
		return
	}
	e.write.Lock()
	defer e.write.Unlock()
	if !e.deleted {
		s.drop(id, e)
	}
}

// drop makes an entry unknown. The caller holds e.write.
func (s *Store[T]) drop(id string, e *entry[T]) {
	e.deleted = true
	s.markSaved(id, e)
	last := e.current()
	s.remove(id, e.name, last)
	var none T
	if last != none {
		s.notify(last, none)
	}
}

// remove removes an entry from the indexes. last is its record, if there is one.
func (s *Store[T]) remove(id, name string, last T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
	delete(s.byName, name)
	var none T
	if last == none {
		return
	}
	owner := last.Owner()
	delete(s.byOwner[owner], id)
	if len(s.byOwner[owner]) == 0 {
		delete(s.byOwner, owner)
	}
}

// current returns the entry's record, or the zero value if there is none.
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
