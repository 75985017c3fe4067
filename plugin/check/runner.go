// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"sync"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Runner runs the checks of a node for callers that cannot wait: a check hangs on a file system
// that does not answer. At most one run is in progress, and its lock is never held across a check.
type Runner struct {
	Node func() Node

	mu      sync.Mutex
	running chan struct{} // closed at the end of the run in progress; nil without one
	last    []Finding
}

// Problems returns the findings of [Node.Local] that are not OK. If the checks take longer than the
// limit, it returns one finding that says so, and the run goes on.
func (r *Runner) Problems(ctx context.Context, limit time.Duration) []Finding {
	select {
	case <-r.start(ctx):
	case <-time.After(limit):
		return []Finding{{
			Level: Warning, Check: "check", What: "not finished in " + limit.String() + ": a file system may not answer", Do: "containerd-lite check",
		}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// start starts a run, or joins the one in progress.
func (r *Runner) start(ctx context.Context) (done <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil {
		return r.running
	}
	running := make(chan struct{})
	r.running = running
	ctx = context.WithoutCancel(ctx)
	guard.Go(ctx, nil, "check the node", func() {
		found := Problems(r.Node().Local(ctx))
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last, r.running = found, nil
		close(running)
	})
	return running
}
