// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/log"
)

const (
	// retryPeriod is the time between two attempts to save the records that the Saver refused.
	retryPeriod = time.Second
	// lastSaveTimeout bounds the last attempt, when the daemon ends.
	lastSaveTimeout = 5 * time.Second
)

// unsavedIDs are the IDs of the records that readers see and that are not saved yet.
type unsavedIDs struct {
	mu    sync.Mutex
	ids   map[string]bool
	added chan struct{} // holds a token after an ID was added
}

func newUnsavedIDs() unsavedIDs {
	return unsavedIDs{ids: make(map[string]bool), added: make(chan struct{}, 1)}
}

func (u *unsavedIDs) add(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ids[id] = true
	select {
	case u.added <- struct{}{}:
	default:
	}
}

func (u *unsavedIDs) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.ids, id)
}

func (u *unsavedIDs) list() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.ids))
}

// Settle replaces the record with the result of change. It shows the new record to readers at once
// and then saves it. If the Saver fails, [Store.SaveLate] retries until it succeeds. saved is
// closed when the record is saved, or when it is removed. If change returns its argument, nothing
// changes. The error is NotFound for an unknown ID.
func (s *Store[T]) Settle(ctx context.Context, id string, change func(T) T) (next T, saved <-chan struct{}, err error) {
	e, current, err := s.lock(id)
	if err != nil {
		return next, nil, err
	}
	defer e.write.Unlock()
	next = change(current)
	if next == current && e.unsaved == nil {
		return next, closedChan, nil
	}
	if next != current {
		e.record.Store(&next)
		s.notify(current, next)
	}
	if err := s.save(ctx, next); err != nil {
		return next, s.postpone(ctx, id, e, err), nil
	}
	s.markSaved(id, e)
	return next, closedChan, nil
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Flush saves a record that Settle has not saved yet. A record that is saved, or unknown, is no
// error.
func (s *Store[T]) Flush(ctx context.Context, id string) error {
	e, current, err := s.lock(id)
	if err != nil {
		return nil
	}
	defer e.write.Unlock()
	if e.unsaved == nil {
		return nil
	}
	if err := s.save(ctx, current); err != nil {
		return fmt.Errorf("%s %s: save record: %w", s.kind, id, err)
	}
	log.G(ctx).WithField(s.kind, id).Info("record saved after a retry")
	s.markSaved(id, e)
	return nil
}

// postpone registers a record that was not saved, for SaveLate. The caller holds e.write.
func (s *Store[T]) postpone(ctx context.Context, id string, e *entry[T], cause error) <-chan struct{} {
	if e.unsaved == nil {
		log.G(ctx).WithError(cause).WithField(s.kind, id).
			Error("record not saved and would be lost in a crash; retrying until containerd's meta.db can be written")
		e.unsaved = make(chan struct{})
	}
	s.unsaved.add(id)
	return e.unsaved
}

// markSaved ends the retries for a record that is saved, or removed. The caller holds e.write.
func (s *Store[T]) markSaved(id string, e *entry[T]) {
	if e.unsaved != nil {
		close(e.unsaved)
		e.unsaved = nil
		s.unsaved.remove(id)
	}
}

// SaveLate retries saving the records that Settle has not saved, until ctx ends, and then once
// more. It may be called again after it has returned.
func (s *Store[T]) SaveLate(ctx context.Context) {
	for {
		s.saveLate(ctx)
		select {
		case <-s.unsaved.added:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout)
			defer cancel()
			s.flushAll(last)
			return
		}
	}
}

// saveLate retries until all records are saved, or ctx ends.
func (s *Store[T]) saveLate(ctx context.Context) {
	retry := time.NewTicker(retryPeriod)
	defer retry.Stop()
	for len(s.unsaved.list()) > 0 {
		select {
		case <-retry.C:
			s.flushAll(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store[T]) flushAll(ctx context.Context) {
	for _, id := range s.unsaved.list() {
		if err := s.Flush(ctx, id); err != nil {
			log.G(ctx).WithError(err).WithField(s.kind, id).Debug("record still not saved")
		}
	}
}
