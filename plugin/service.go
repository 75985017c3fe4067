// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/cri"
	"github.com/containerd-lite/containerd-lite/plugin/event"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/stream"
)

// Service is the CRI: all managers, each built once, dependencies first. No manager refers to one
// that is built after it.
type Service struct {
	*reloader
	network    *network.Network
	images     *image.Manager
	pods       *pod.Manager
	containers *container.Manager
	events     *event.Hub
	activity   *activity.Log
	began      time.Time
	plugins    *nri.Plugins
	streams    *stream.Server
	server     *cri.Server
	bundles    []string         // directories of bundles and their work directories
	saved      containers.Store // of containerd
	cancel     context.CancelFunc
}

// Register registers the CRI's services and that of [GetStatus]. Those of the CRI return
// Unavailable until recovery is complete.
func (s *Service) Register(g *grpc.Server) error {
	s.server.Register(g)
	g.RegisterService(&statusDesc, s)
	return nil
}

// Run recovers the pods and containers of this host, calls ready, and serves until ctx ends or a
// part that the CRI needs returns an error.
func (s *Service) Run(ctx context.Context, ready func()) error {
	ctx = namespaces.WithNamespace(ctx, namespace)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(guard.Func(ctx, "networks", func() error { return s.network.Run(ctx) }))
	group.Go(guard.Func(ctx, "streams", func() error { return s.streams.Serve(ctx) }))
	group.Go(guard.Func(ctx, "task events", func() error { return s.containerd.Observe(ctx, s.containers) }))
	group.Go(guard.Func(ctx, "recovery", func() error {
		strays, err := s.recover(ctx)
		if err != nil {
			return err
		}
		if err := s.plugins.Start(ctx, nriNode{s.pods, s.containers.PluginView()}); err != nil {
			return err
		}
		s.server.SetReady()
		ready()
		// The CNI DEL for a stray may need a pod that the kubelet can only start now.
		group.Go(guard.Func(ctx, "strays", func() error { s.pods.TearDownStrays(ctx, strays); return nil }))
		s.images.Sample(ctx)
		return nil
	}))
	return group.Wait()
}

// recover loads the pods and containers of this host, and returns the strays.
func (s *Service) recover(ctx context.Context) ([]*pod.Record, error) {
	start := time.Now()
	for _, dir := range s.bundles {
		if err := runtime.CleanBundles(dir); err != nil {
			log.G(ctx).WithError(err).Warn("leftovers of removed bundles not cleaned up; will retry at next start")
		}
	}
	if err := runtime.DropRestartLabels(ctx, s.saved); err != nil {
		return nil, err
	}
	s.network.FreeOrphans(ctx)
	if err := s.pods.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recover pods: %w", err)
	}
	if err := s.containers.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recover containers: %w", err)
	}
	strays, err := s.pods.Strays(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Error("search for leftover resources of removed pods failed; will retry at next start")
	}
	log.G(ctx).WithFields(log.Fields{
		"pods":       len(s.pods.List()),
		"containers": len(s.containers.List()),
		"took":       time.Since(start).Round(time.Millisecond),
	}).Info("CRI is ready")
	return strays, nil
}

// Close ends the background work of the service. Pods continue to run.
func (s *Service) Close() error {
	s.cancel()
	s.events.Close()
	s.containers.Close()
	s.pods.Close()
	s.plugins.Close() // last: a container must not start without its plugins
	s.images.Close()
	return nil
}
