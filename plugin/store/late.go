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
	// retryPeriod is how often records that the home refused are offered again.
	retryPeriod = time.Second
	// lastSaveTimeout bounds the last attempt, when the daemon ends.
	lastSaveTimeout = 5 * time.Second
)

// late are the ids of the records that readers see and the home has not taken yet.
type late struct {
	mu   sync.Mutex
	ids  map[string]bool
	some chan struct{} // holds a token when an id was added
}

func newLate() late {
	return late{ids: make(map[string]bool), some: make(chan struct{}, 1)}
}

func (l *late) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[id] = true
	select {
	case l.some <- struct{}{}:
	default:
	}
}

func (l *late) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ids, id)
}

func (l *late) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.ids))
}

// Settle replaces the record with what change returns, which readers see at once. It is saved
// then; if the home refuses it, [Store.SaveLate] offers it again until it succeeds. saved is closed
// when the home has the record, or when the record is gone. A change that returns what it was given
// changes nothing. The error is NotFound for an unknown id.
func (s *Store[T]) Settle(ctx context.Context, id string, change func(T) T) (next T, saved <-chan struct{}, err error) {
	e, current, err := s.lock(id)
	if err != nil {
		return next, nil, err
	}
	defer e.write.Unlock()
	next = change(current)
	if next == current && e.unsaved == nil {
		return next, closed, nil
	}
	if next != current {
		e.record.Store(&next)
		s.tell(current, next)
	}
	if err := s.save(ctx, next); err != nil {
		return next, s.postpone(ctx, id, e, err), nil
	}
	s.settled(id, e)
	return next, closed, nil
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Flush saves a record that Settle could not save yet. A record that is saved, or unknown, is fine.
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
	log.G(ctx).WithField(s.kind, id).Info("record is saved, which failed before")
	s.settled(id, e)
	return nil
}

// postpone notes that the home has refused the record that readers see. The caller holds e.write.
func (s *Store[T]) postpone(ctx context.Context, id string, e *entry[T], cause error) <-chan struct{} {
	if e.unsaved == nil {
		log.G(ctx).WithError(cause).WithField(s.kind, id).
			Error("record is not saved and would be lost in a crash; retrying until containerd's meta.db can be written")
		e.unsaved = make(chan struct{})
	}
	s.late.add(id)
	return e.unsaved
}

// settled notes that the home has the record that readers see. The caller holds e.write.
func (s *Store[T]) settled(id string, e *entry[T]) {
	if e.unsaved != nil {
		close(e.unsaved)
		e.unsaved = nil
		s.late.remove(id)
	}
}

// SaveLate saves records that Settle could not save, until ctx ends, and once more then. It may be
// called again.
func (s *Store[T]) SaveLate(ctx context.Context) {
	for {
		s.saveLate(ctx)
		select {
		case <-s.late.some:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout)
			defer cancel()
			s.flushAll(last)
			return
		}
	}
}

// saveLate offers the late records to the home until it has taken all of them, or ctx ends.
func (s *Store[T]) saveLate(ctx context.Context) {
	retry := time.NewTicker(retryPeriod)
	defer retry.Stop()
	for len(s.late.list()) > 0 {
		select {
		case <-retry.C:
			s.flushAll(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store[T]) flushAll(ctx context.Context) {
	for _, id := range s.late.list() {
		if err := s.Flush(ctx, id); err != nil {
			log.G(ctx).WithError(err).WithField(s.kind, id).Debug("record is still not saved")
		}
	}
}
