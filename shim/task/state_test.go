// SPDX-License-Identifier: Apache-2.0

package task

import (
	"testing"

	"github.com/containerd/errdefs"
)

// The test repeats the table, ordered by state, so that a mistake in either shows.
func TestTransitions(t *testing.T) {
	verbs := []verb{start, pause, pauseDone, pauseUndo, resume, kill, execute, update, checkpoint, exit, remove}
	want := map[state]map[verb]state{
		created: {start: running, kill: created, execute: created, update: created, exit: stopped, remove: deleted},
		running: {pause: pausing, kill: running, execute: running, update: running, checkpoint: running, exit: stopped},
		pausing: {pauseDone: paused, pauseUndo: running, kill: pausing, exit: stopped},
		paused:  {resume: running, kill: paused, update: paused, checkpoint: paused, exit: stopped},
		stopped: {remove: deleted},
		deleted: {},
	}
	if len(transitions) != len(verbs) {
		t.Errorf("%d verbs in the table, want %d", len(transitions), len(verbs))
	}
	for from, allowed := range want {
		for _, v := range verbs {
			next, err := from.after(v)
			expected, ok := allowed[v]
			switch {
			case ok && (err != nil || next != expected):
				t.Errorf("%s a %s process: %s, %v, want %s", v, from, next, err, expected)
			case !ok && v == kill && !errdefs.IsNotFound(err):
				t.Errorf("%s a %s process: %v, want not found", v, from, err)
			case !ok && v != kill && !errdefs.IsFailedPrecondition(err):
				t.Errorf("%s a %s process: %v, want failed precondition", v, from, err)
			case !ok && next != from:
				t.Errorf("%s a %s process: moved to %s", v, from, next)
			}
		}
	}
}
