// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"maps"
	"reflect"
	"sync"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/image"
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
// cannot be applied, nothing changes, and the error has the reason. A call reads each setting when
// it needs it: a call that is in progress during a reload may use old values for its first steps
// and new ones for the rest. Pulls, CNI ADD and CNI DEL keep the settings that they began with.
// Reload returns the keys whose change needs a restart; they keep their values.
func (r *reloader) Reload(ctx context.Context, next config.Config) (pending []string, err error) {
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
		log.G(ctx).WithError(err).Warn("config.toml is reloaded, but some images are still pinned; reload again")
	}
	return pending, nil
}

// applyRuntime replaces the config of what creates pods and containers.
func (r *reloader) applyRuntime(ctx context.Context, now, next config.Config, specs *specgen.Generator) {
	if !reflect.DeepEqual(now.Runtime.CDISpecDirs, next.Runtime.CDISpecDirs) {
		if err := cdi.Configure(cdi.WithSpecDirs(next.Runtime.CDISpecDirs...)); err != nil {
			log.G(ctx).WithError(err).Warn("CDI specs loaded with errors; containers that request a device of a broken spec fail; correct the spec")
		}
	}
	if options := networkOptions(next.Runtime); !reflect.DeepEqual(options, networkOptions(now.Runtime)) {
		r.network.Reload(options)
	}
	r.specs.Set(specs)
	r.live.Set(next) // last: a handler that it offers has its spec and its network
}

// features returns the features of the handlers of next. Reading them takes two processes for each
// handler, so known features of unchanged handlers are reused.
func (r *reloader) features(ctx context.Context, now, next config.Runtime) map[string]*features.Features {
	known := map[string]*features.Features{}
	changed := next
	changed.Containerd.Runtimes = maps.Clone(next.Containerd.Runtimes)
	for name, h := range next.Containerd.Runtimes {
		f := r.specs.Get().Features[name]
		if former, ok := now.Containerd.Runtimes[name]; ok && f != nil && former.ShimKey() == h.ShimKey() {
			known[name] = f
			delete(changed.Containerd.Runtimes, name)
		}
	}
	maps.Copy(known, r.containerd.Features(ctx, changed))
	return known
}
