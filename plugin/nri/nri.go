// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/otelttrpc"
	"github.com/containerd/ttrpc"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// Options of Plugins.
type Options struct {
	Config config.NRI
	// Name and Version are those of the runtime, as plugins see them.
	Name, Version string
	// Deprecated is called when a plugin uses an interface that NRI will drop.
	Deprecated func(ctx context.Context, plugin, details string)
}

// Subject returns a pod, or a pod and a container in it, as plugins see them. Its second result is
// nil for a pod. It may be called at any time until the object is removed.
type Subject func() (*api.PodSandbox, *api.Container)

// Node is what plugins see and change of the node outside of a call about an object.
type Node interface {
	// Subjects returns the pods and the containers for Synchronize.
	Subjects(ctx context.Context) (pods, containers []Subject)
	// Update changes the resources of a container. The error is NotFound for an unknown one.
	Update(ctx context.Context, id string, resources *api.LinuxResources) error
}

// Plugins are the NRI plugins of the node.
type Plugins struct {
	options Options
	metrics *metrics
	unseen  unseen

	mu     sync.RWMutex // held for writing while the plugins are started or closed
	active *active      // nil before Start, and if NRI is disabled
	closed atomic.Bool
}

// active is the connection to the plugins, after Start.
type active struct {
	*adaptation.Adaptation
	node Node
}

// Disabled returns Plugins that call none.
func Disabled() *Plugins { return New(Options{Config: config.NRI{Disable: true}}) }

// New returns Plugins that are not connected.
func New(options Options) *Plugins {
	return &Plugins{options: options, metrics: newMetrics(), unseen: unseen{byID: map[string]Subject{}}}
}

// Start starts the plugins that are installed on the node, sends them what is on the node, and
// accepts connections of others, until [Plugins.Close]. It does nothing if NRI is disabled. ctx
// bounds the changes that plugins request.
func (p *Plugins) Start(ctx context.Context, node Node) error {
	c := p.options.Config
	if c.Disable {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := c.PluginRegistrationTimeout.Or(0); t > 0 {
		adaptation.SetPluginRegistrationTimeout(t)
	}
	if t := c.PluginRequestTimeout.Or(0); t > 0 {
		adaptation.SetPluginRequestTimeout(t)
	}
	if err := p.metrics.register(); err != nil {
		return fmt.Errorf("NRI: metrics: %w", err)
	}
	a := &active{node: node}
	var err error
	a.Adaptation, err = adaptation.New(p.options.Name, p.options.Version,
		func(_ context.Context, send adaptation.SyncCB) error { return p.synchronize(ctx, a, send) },
		func(_ context.Context, updates []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) {
			if p.closed.Load() {
				return updates, fmt.Errorf("the daemon is shutting down: %w", errdefs.ErrUnavailable)
			}
			return update(ctx, node, updates)
		},
		p.adaptationOptions()...)
	if err != nil {
		return fmt.Errorf("NRI: %w", err)
	}
	if err := a.Start(); err != nil {
		a.Stop()
		return fmt.Errorf("NRI (mend what is wrong, or set %s = true): %w", config.KeyPath(config.NRITable, "disable"), err)
	}
	p.active = a
	return nil
}

func (p *Plugins) adaptationOptions() []adaptation.Option {
	c := p.options.Config
	options := []adaptation.Option{
		adaptation.WithMetrics(p.metrics),
		adaptation.WithDeprecationRecorder(recorder{p.options.Deprecated}),
		adaptation.WithTTRPCOptions(
			[]ttrpc.ClientOpts{ttrpc.WithUnaryClientInterceptor(otelttrpc.UnaryClientInterceptor())},
			[]ttrpc.ServerOpt{ttrpc.WithUnaryServerInterceptor(otelttrpc.UnaryServerInterceptor())},
		),
	}
	if c.SocketPath != "" {
		options = append(options, adaptation.WithSocketPath(c.SocketPath))
	}
	if c.PluginPath != "" {
		options = append(options, adaptation.WithPluginPath(c.PluginPath))
	}
	if c.PluginConfigPath != "" {
		options = append(options, adaptation.WithPluginConfigPath(c.PluginConfigPath))
	}
	if c.DisableConnections {
		options = append(options, adaptation.WithDisabledExternalConnections())
	}
	if c.DefaultValidator != nil {
		options = append(options, adaptation.WithDefaultValidator(c.DefaultValidator))
	}
	return options
}

// Close ends the calls of plugins: later requests for one are Unavailable, because a container must
// not start without the plugins that it needs. The connections end with the process.
func (p *Plugins) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed.Swap(true) && p.active != nil {
		p.active.Stop()
	}
}

// call calls do, and with it the plugins, unless none is connected. A panic in do is an error.
//
// The end of ctx does not end the call: a plugin whose caller gave up would count as one that
// hangs, and be disconnected. NRI bounds the time of each plugin.
func (p *Plugins) call(ctx context.Context, event string, do func(ctx context.Context, a *active) error) error {
	return p.callAfter(ctx, event, func() {}, do)
}

// callAfter is call with a function that runs first, also if no plugin is connected: no plugin is
// synchronized between the two.
func (p *Plugins) callAfter(ctx context.Context, event string, prepare func(), do func(ctx context.Context, a *active) error) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	a := p.active
	if a == nil {
		return nil
	}
	if p.closed.Load() {
		return fmt.Errorf("NRI plugins: %s: the daemon is shutting down: %w", event, errdefs.ErrUnavailable)
	}
	block := a.BlockPluginSync()
	defer block.Unblock()
	prepare()
	if p.metrics.connected.Load() == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	defer activity.Begin(ctx, activity.Wait{For: activity.NRI, Operation: event}, nil)()
	err := guard.Call(ctx, event, func() error { return do(ctx, a) })
	if err == nil || errdefs.IsInternal(err) {
		return err
	}
	// The text and the code of the error are those of a plugin.
	return fmt.Errorf("NRI plugins: %s: %s: %w", event, bounded(err.Error()), errdefs.ErrFailedPrecondition)
}

// notify is a call about something that has happened. Its errors are logged.
func (p *Plugins) notify(ctx context.Context, event string, do func(ctx context.Context, a *active) error) {
	err := p.call(ctx, event, do)
	if err != nil && !errdefs.IsUnavailable(err) {
		log.G(ctx).WithError(err).Warn("NRI plugin failed; the call goes on")
	}
}

// maxError bounds the text of a plugin in errors and in the status, in bytes.
const maxError = 1024

func bounded(text string) string {
	if len(text) <= maxError {
		return text
	}
	return strings.ToValidUTF8(text[:maxError], "") + "..."
}

// recorder implements [adaptation.DeprecationRecorder].
type recorder struct {
	deprecated func(ctx context.Context, plugin, details string)
}

// PluginWarning implements [adaptation.DeprecationRecorder].
func (r recorder) PluginWarning(ctx context.Context, _ adaptation.Deprecation, plugin, details string) {
	r.deprecated(ctx, plugin, details)
}
