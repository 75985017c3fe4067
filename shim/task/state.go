// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"

	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
)

// state is the state of a process in the Task API.
type state int

const (
	created state = iota
	running
	pausing
	paused
	stopped
	deleted
)

func (s state) String() string {
	return [...]string{"created", "running", "pausing", "paused", "stopped", "deleted"}[s]
}

// status returns the state as the Task API's enumeration.
func (s state) status() task.Status {
	return [...]task.Status{
		task.Status_CREATED,
		task.Status_RUNNING,
		task.Status_PAUSING,
		task.Status_PAUSED,
		task.Status_STOPPED,
		task.Status_UNKNOWN,
	}[s]
}

// verb is an operation on a process, or its exit. Error texts contain it.
type verb string

const (
	start      verb = "start"
	pause      verb = "pause"
	pauseDone  verb = "complete the pause of"
	pauseUndo  verb = "undo the pause of"
	resume     verb = "resume"
	kill       verb = "signal"
	execute    verb = "execute a process in"
	update     verb = "update"
	checkpoint verb = "checkpoint"
	exit       verb = "end"
	remove     verb = "delete"
)

// transitions holds the next state by verb and current state. A missing pair is not allowed. Execs
// and inits share the table; no caller applies an operation of the init alone to an exec.
var transitions = map[verb]map[state]state{
	start:      {created: running},
	pause:      {running: pausing},
	pauseDone:  {pausing: paused},
	pauseUndo:  {pausing: running},
	resume:     {paused: running},
	kill:       {created: created, running: running, pausing: pausing, paused: paused},
	execute:    {created: created, running: running},
	update:     {created: created, running: running, paused: paused},
	checkpoint: {running: running, paused: paused},
	exit:       {created: stopped, running: stopped, pausing: stopped, paused: stopped},
	remove:     {created: deleted, stopped: deleted},
}

// after returns the state that follows v. If the state does not allow v, the error is
// errdefs.ErrNotFound for kill, because the process has exited, and errdefs.ErrFailedPrecondition
// otherwise.
func (s state) after(v verb) (state, error) {
	if next, ok := transitions[v][s]; ok {
		return next, nil
	}
	if v == kill {
		return s, fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)
	}
	return s, fmt.Errorf("cannot %s a %s process: %w", v, s, errdefs.ErrFailedPrecondition)
}
