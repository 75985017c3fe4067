// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/outbox"
	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// Host is what the containers of one shim share.
type Host struct {
	Namespace string
	Children  *reap.Reaper
	Events    *outbox.Outbox
	// Kills tells of out-of-memory kills. Its zero value is ready.
	Kills cgroup.Announcer
	// Deleted is called after the deletion of a task, and can ask for the bundles of
	// those that are left. It may be nil.
	Deleted func(bundles func() []bundle.Dir)
}

// container is one container and its processes.
type container struct {
	id     string
	bundle bundle.Dir
	host   *Host
	init   *process
	setup

	mu sync.Mutex
	// Guarded by mu.
	execs map[string]*process
	live  int           // execs that are starting or running
	down  bool          // the init has ended or is killed: no exec can start
	quiet chan struct{} // set while the end of the init waits for live to be 0
	group *cgroup.Group
	oom   *cgroup.OOMWatch
	stats *anypb.Any // the last ones read
	kills uint64     // for want of memory; set when the init has ended
}

// setup is how a container is run. It does not change.
type setup struct {
	opts    *options.Options
	runtime *oci.Runtime
	images  oci.Images // a checkpoint to start from, if Path is set
	mounted bool       // the root filesystem is mounted in the bundle
	// ownPids is false if processes can outlive the init.
	ownPids bool
	pod     string  // or whatever the group of tasks is that it belongs to
	holder  *holder // in the place of a process, nil where there is one
	// plain is true if nothing but the init has to do with its start.
	plain bool
}

// find returns the init for "" or an exec.
func (c *container) find(execID string) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if execID == "" {
		return c.init, nil
	}
	if p := c.execs[execID]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("container %s: exec %s: %w", c.id, execID, errdefs.ErrNotFound)
}

// advance moves a process to the state that follows v, or refuses.
func (c *container) advance(p *process, v verb) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := p.advanceLocked(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return nil
}

// allows tells whether v is possible now, as far as is known.
func (c *container) allows(p *process, v verb) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := p.state.after(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return nil
}

// operate runs an operation on the init, in turn with others, if v is allowed.
func (c *container) operate(ctx context.Context, v verb, run func() error) error {
	if err := c.init.turn.take(ctx); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	defer c.init.turn.give()
	if err := c.refuse(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	if err := c.allows(c.init, v); err != nil {
		return err
	}
	if err := guard.Call(c.context(), string(v), run); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return nil
}

// allExecs returns the execs of the container, in no order.
func (c *container) allExecs() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.execs))
}

// controlGroup returns the group of the container, nil if it is not known.
func (c *container) controlGroup() *cgroup.Group {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.group
}

func (c *container) owner(p *process) stdio.Owner {
	id := c.id
	if !p.isInit() {
		id = p.execID
	}
	return stdio.Owner{
		ID:        id,
		Namespace: c.host.Namespace,
		UID:       int(c.opts.GetIoUid()),
		GID:       int(c.opts.GetIoGid()),
		Broken:    func() { c.abort(p) },
	}
}

func (c *container) log() *log.Entry { return log.L.WithField("container", c.id) }

// context returns a context for what no call waits for. What is logged with it names the container.
func (c *container) context() context.Context { return log.WithLogger(context.Background(), c.log()) }

// detached returns a context for work that must end although the call that
// caused it has, or will not wait for it.
func detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
