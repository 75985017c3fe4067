// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"sync"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
	"github.com/containerd-lite/containerd-lite/plugin/stream"
)

// reloader applies changes of the config to the parts of the CRI that depend on it.
type reloader struct {
	deps       Deps // as at the start
	live       *config.Live
	specs      *specgen.Live
	containerd *runtime.Client
	images     *image.Manager
	network    *network.Network
	streams    *stream.Server
	mu         sync.Mutex // one reload at a time
}

// Reload replaces the config of the running CRI. next is valid and complete. If a part of next
// cannot be applied, nothing changes, and the error says why. Calls in progress go on with the
// config that they began with. After a reload the CRI is as after a restart with next, except for
// the keys that Reload returns: a change of these needs a restart.
func (r *reloader) Reload(ctx context.Context, next config.Config) (pending []string, err error) {
	defer func() { metrics.Reload(err) }()
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx = namespaces.WithNamespace(ctx, namespace)
	now := r.live.Get()
	next, pending = now.Reloaded(next)
	deps := r.deps
	deps.Config = next
	if err := deps.checkSnapshotters(); err != nil {
		return nil, err
	}
	baseSpecs, err := next.Runtime.BaseSpecs()
	if err != nil {
		return nil, err
	}
	applyImages, err := r.images.Prepare(imageOptions(deps))
	if err != nil {
		return nil, err
	}
	options, err := streamOptions(next.Server)
	if err != nil {
		return nil, err
	}
	specs := *r.specs.Get()
	specs.Config, specs.BaseSpecs, specs.Features = next.Runtime, baseSpecs, r.features(ctx, now.Runtime, next.Runtime)
	// The last step that can fail: what it prepares has to be applied.
	applyStreams, err := r.streams.Prepare(options)
	if err != nil {
		return nil, err
	}
	applyStreams()
	r.applyRuntime(ctx, *now, next, &specs)
	if err := applyImages(ctx); err != nil {
		log.G(ctx).WithError(err).Warn("config.toml is reloaded, but not all images are marked as pinned or not pinned; reload again")
	}
	return pending, nil
}

// applyRuntime replaces the config of what creates pods and containers.
func (r *reloader) applyRuntime(ctx context.Context, now, next config.Config, specs *specgen.Generator) {
	if !reflect.DeepEqual(now.Runtime.CDISpecDirs, next.Runtime.CDISpecDirs) {
		if err := cdi.Configure(cdi.WithSpecDirs(next.Runtime.CDISpecDirs...)); err != nil {
			log.G(ctx).WithError(err).Warn("CDI directories are reloaded with errors; containers that need their devices fail")
		}
	}
	if options := networkOptions(next.Runtime); !reflect.DeepEqual(options, networkOptions(now.Runtime)) {
		r.network.Reload(options)
	}
	r.specs.Set(specs)
	r.live.Set(next) // last: a handler that it offers has its spec and its network
}

// features returns the features of the handlers of next. Those that are known of handlers that do
// not change are not read again, because that takes two processes for each.
func (r *reloader) features(ctx context.Context, now, next config.Runtime) map[string]*features.Features {
	known := map[string]*features.Features{}
	changed := next
	changed.Containerd.Runtimes = maps.Clone(next.Containerd.Runtimes)
	for name, h := range next.Containerd.Runtimes {
		f := r.specs.Get().Features[name]
		if former, ok := now.Containerd.Runtimes[name]; ok && f != nil && sameRuntime(former, h) {
			known[name] = f
			delete(changed.Containerd.Runtimes, name)
		}
	}
	maps.Copy(known, r.containerd.Features(ctx, changed))
	return known
}

// sameRuntime reports whether two handlers have the same shim with the same options.
func sameRuntime(a, b config.Handler) bool {
	return a.Type == b.Type && a.Path == b.Path && fmt.Sprint(a.Options) == fmt.Sprint(b.Options)
}
