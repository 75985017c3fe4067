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

// Host holds the services that all containers of one shim share.
type Host struct {
	Namespace string
	Children  *reap.Reaper
	Events    *outbox.Outbox
	// Kills reports out-of-memory kills. Its zero value is ready to use.
	Kills cgroup.Notifier
	// Deleted, if not nil, is called after the deletion of a task. bundles returns the bundles of
	// the remaining tasks.
	Deleted func(bundles func() []bundle.Dir)
}

// container is a task: one container with its init and its execs.
type container struct {
	id     string
	bundle bundle.Dir
	host   *Host
	init   *process
	setup

	mu sync.Mutex
	// Guarded by mu.
	execs         map[string]*process
	liveExecs     int           // execs that are starting or running
	execsRejected bool          // set when the init has exited or was killed: no exec can start
	execsDone     chan struct{} // closed when liveExecs is 0; nil if unused
	cgroup        *cgroup.Group
	oom           *cgroup.OOMWatch
	stats         *anypb.Any // the last statistics that were read
	oomKills      uint64     // out-of-memory kills, read when the init has exited
}

// setup holds the settings of a container. They do not change after newContainer.
type setup struct {
	opts    *options.Options
	runtime *oci.Runtime
	images  oci.Images // the CRIU images to restore from, if Path is set
	mounted bool       // the root filesystem is mounted in the bundle
	// ownPids is true if the container has a PID namespace of its own. Without one, processes can
	// outlive the init.
	ownPids bool
	pod     string  // the pod, or another group of tasks (bundle.Spec.Group)
	holder  *holder // nil if the container has a process
	// noPoststart is true if the spec has no poststart hooks, which some versions of runc run in
	// `runc start`. The shim can then start the init without the runtime.
	noPoststart bool
}

// find returns an exec, or the init for "".
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

// advance moves a process to the state that follows v. An error means that the state does not allow
// v.
func (c *container) advance(p *process, v verb) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := p.advanceLocked(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return nil
}

// allows returns an error if the current state of a process does not allow v. The state can change
// as soon as allows returns.
func (c *container) allows(p *process, v verb) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := p.state.after(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return nil
}

// operate runs a runtime operation on the init if its state allows v. Operations run one at a time.
func (c *container) operate(ctx context.Context, v verb, run func() error) error {
	if err := c.init.operation.lock(ctx); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	defer c.init.operation.unlock()
	if err := c.requireProcess(v); err != nil {
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

// allExecs returns the execs of the container in no particular order.
func (c *container) allExecs() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.execs))
}

// loadCgroup returns the cgroup of the container, nil if it is unknown.
func (c *container) loadCgroup() *cgroup.Group {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cgroup
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
		Broken:    func() { c.killBroken(p) },
	}
}

func (c *container) log() *log.Entry { return log.L.WithField("container", c.id) }

// context returns a context for work that no call waits for. Its logger has the container's id.
func (c *container) context() context.Context { return log.WithLogger(context.Background(), c.log()) }

// detached returns a context for work that must complete even if the call that started it is
// canceled or does not wait for it.
func detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
