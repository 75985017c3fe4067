// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// results are all samples. Safe for concurrent use.
type results struct {
	mu   sync.Mutex // protects the fields below
	rows []*row     // in the order of their first sample

	leaks []error // of all loads; used by measure alone
}

// row holds the samples of one measurement for each contestant.
type row struct {
	name    string // with the number of pods
	what    string // without
	pods    int    // on the node; 0 if the row is about no node
	unit    string
	load    string
	samples map[string]rounds // by contestant
}

// rounds are the samples of each round, in order. A session adds one round.
type rounds []samples

// add adds a sample of a session, on a node with a number of pods or 0.
func (r *results) add(s *session, what string, pods int, unit string, value float64) {
	name := what
	if pods > 0 {
		name = fmt.Sprintf("%s, %d pods", what, pods)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.rows, func(r *row) bool { return r.name == name })
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, &row{name, what, pods, unit, s.load, map[string]rounds{}})
	}
	of := r.rows[i].samples[s.contestant]
	for len(of) <= s.round {
		of = append(of, nil)
	}
	of[s.round] = append(of[s.round], value)
	r.rows[i].samples[s.contestant] = of
}

// settled reports whether more rounds of a load would hardly change its table: the intervals of all
// lines that have a goal are narrow.
func (r *results) settled(load string, t table) bool {
	for _, row := range r.rows {
		if row.load != load {
			continue
		}
		for _, line := range t.lines(row) {
			if hasGoal(line.name) && !line.ratio().narrow() {
				return false
			}
		}
	}
	return true
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
