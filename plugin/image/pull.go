// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// annotationHandler names the runtime handler of a pod, for kubelets that do not set it in the
// image spec.
const annotationHandler = "io.containerd.cri.runtime-handler"

// Pull fetches an image, unpacks it for the runtime handler of the pod and returns its id. Calls
// for the same image, snapshotter and credentials share one transfer, which continues while any of
// them waits.
//
// containerd's transfer service does the transfer, because only it calls image verifiers, follows
// the unpack and download settings of the daemon and shares downloads with other clients. The
// source is a [registrySource]: it reads hosts.toml from several directories, supports all kinds of
// credentials and meters bytes.
//
// Errors name the image and have a class: InvalidArgument for a bad reference, handler or
// credentials; NotFound, Unauthenticated and PermissionDenied as the registry responds; DataLoss
// for content that does not match its descriptor; DeadlineExceeded if no data arrives or the call
// times out. An unreachable or failing registry, and an image that a verifier of containerd
// refuses, are Unknown with a text that the kubelet recognizes. A failed pull leaves no image.
func (m *Manager) Pull(ctx context.Context, spec *runtimeapi.ImageSpec, auth *runtimeapi.AuthConfig, pod *runtimeapi.PodSandboxConfig) (string, error) {
	named, err := parsePullable(spec.GetImage())
	if err != nil {
		return "", err
	}
	creds, err := parseAuth(auth)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", named, err)
	}
	now := m.live.Load()
	snapshotter, err := now.snapshotterFor(spec, pod)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", named, err)
	}
	p := &pull{
		m:           m,
		settings:    now,
		named:       named,
		name:        named.String(),
		host:        reference.Domain(named),
		snapshotter: snapshotter,
		creds:       creds,
	}
	id, err := m.pulls.Do(ctx, p.key(), p.run)
	if _, explained := errors.AsType[*pullError](err); err != nil && !explained {
		err = fmt.Errorf("image %s: pull: %w", p.name, err)
	}
	return id, err
}

// snapshotterFor returns the snapshotter of the runtime handler that an image is pulled for. An
// unknown handler is refused, as the CRI requires (ImageSpec).
func (s *settings) snapshotterFor(spec *runtimeapi.ImageSpec, pod *runtimeapi.PodSandboxConfig) (string, error) {
	handler := cmp.Or(spec.GetRuntimeHandler(), pod.GetAnnotations()[annotationHandler])
	if handler != "" && len(s.Handlers) > 0 && !slices.Contains(s.Handlers, handler) {
		return "", fmt.Errorf("runtime handler %q: not configured (configured: %q): %w", handler, s.Handlers, errdefs.ErrInvalidArgument)
	}
	return cmp.Or(s.HandlerSnapshotters[handler], s.Snapshotter), nil
}

// pull is one transfer.
type pull struct {
	m           *Manager
	settings    *settings
	named       reference.Named
	name        string // named as a string
	host        string // the registry in the name
	snapshotter string
	creds       credentials
}

// key returns the same string for pulls that may share a transfer.
func (p *pull) key() string {
	return p.name + " " + p.snapshotter + " " + p.creds.fingerprint() + " " + strconv.Itoa(p.settings.generation)
}

// run does the pull under a lease, which protects the content from garbage collection until there
// is an image record for it.
func (p *pull) run(ctx context.Context) (id string, err error) {
	start, traffic := time.Now(), newMeter()
	end := metrics.StartPull()
	defer func() { end(traffic.bytes.Load(), err) }()
	ctx = namespaces.WithNamespace(ctx, namespace)
	ctx, release, err := p.m.lease(ctx, p.name)
	if err != nil {
		return "", err
	}
	defer release()
	target, err := p.transfer(ctx, traffic)
	if err != nil {
		return "", err
	}
	if id, err = p.finish(ctx, target); err != nil {
		return "", err
	}
	p.m.releaseStale(ctx, p.name)
	log.G(ctx).WithFields(log.Fields{
		"image": p.name, "id": id, "bytes": traffic.bytes.Load(), "took": time.Since(start).Round(time.Millisecond),
	}).Info("image pulled")
	return id, nil
}

// transfer fetches and unpacks the image and returns its manifest or index.
func (p *pull) transfer(ctx context.Context, traffic *meter) (ocispec.Descriptor, error) {
	defer activity.Begin(ctx, activity.Wait{For: activity.Registry, Operation: "pull", Object: p.host}, traffic.progress)()
	ctx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel(nil)
	if timeout := p.settings.ProgressTimeout; timeout > 0 {
		guard.Go(ctx, &watcher, "watch the traffic of a pull", func() { cancel(traffic.watch(ctx, timeout)) })
	}
	source := p.settings.source(ctx, p.name, p.creds, traffic)
	_, ownUnpack := p.m.ownUnpack.Load(p.snapshotter)
	store := newStoreTarget(p, source, ownUnpack || p.settings.SyncLayers)
	err := p.m.deps.Transfer.Transfer(ctx, source, store)
	if !store.ownUnpack && errdefs.IsInvalidArgument(err) && source.fetcherRequested.Load() && !source.contentRequested.Load() {
		// If the unpack_config of the transfer service lacks the snapshotter, the service refuses
		// to unpack into it before it fetches anything.
		store = newStoreTarget(p, source, true)
		if err = p.m.deps.Transfer.Transfer(ctx, source, store); err == nil {
			p.m.ownUnpack.Store(p.snapshotter, true)
		}
	}
	if err != nil {
		return ocispec.Descriptor{}, p.explain(ctx, source, err)
	}
	return store.target, nil
}

// finish creates an image from the fetched content: it unpacks the image, if that was not done yet,
// and creates the image records.
func (p *pull) finish(ctx context.Context, target ocispec.Descriptor) (string, error) {
	img, err := load(ctx, p.m.deps.Content, target)
	if err != nil {
		return "", err
	}
	if err := p.m.unpack(ctx, img, p.snapshotter); err != nil {
		return "", err
	}
	names := recordNames(p.named, img.ID, target.Digest)
	return img.ID, p.m.register(ctx, names, target, p.m.labelsFor(p.name))
}
