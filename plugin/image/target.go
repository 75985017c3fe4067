// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/containerd/v2/pkg/snapshotters"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// storeTarget is the destination of an image for the transfer service. It stores content and
// snapshots as containerd's image store does, but creates no image record. The pull creates the
// records after all other steps, so a failed pull leaves no record.
//
// Normally the transfer service unpacks. It cannot unpack for a snapshotter that its unpack_config
// lacks, and cannot sync layers to disk. In these cases it fetches everything except the layers,
// and Store fetches and unpacks the layers.
type storeTarget struct {
	*imageStore
	p         *pull
	source    *registrySource
	ownUnpack bool // Store unpacks, not the transfer service

	content  content.Store      // of the transfer service
	children images.HandlerFunc // lists and labels the content to fetch
	target   ocispec.Descriptor
}

// imageStore is an alias, so that the embedded field is not named Store like the method.
type imageStore = transferimage.Store

func newStoreTarget(p *pull, source *registrySource, ownUnpack bool) *storeTarget {
	var opts []transferimage.StoreOpt
	if !ownUnpack {
		opts = append(opts, transferimage.WithUnpack(platforms.DefaultSpec(), p.snapshotter))
	}
	return &storeTarget{imageStore: transferimage.NewStore(p.name, opts...), p: p, source: source, ownUnpack: ownUnpack}
}

// ImageFilter returns the handler that lists the content to fetch. The handler adds garbage
// collection labels to the content, and to the layers the annotations that become labels of their
// snapshots.
func (s *storeTarget) ImageFilter(children images.HandlerFunc, store content.Store) images.HandlerFunc {
	children = withoutReservedLabels(withLayerLimit(children))
	if s.p.settings.Annotated(s.p.snapshotter) {
		children = snapshotters.AppendInfoHandlerWrapper(s.p.name)(children).Handle
	}
	gcLabels := images.ChildGCLabels
	if s.p.settings.DiscardLayers {
		gcLabels = images.ChildGCLabelsFilterLayers
	}
	platform := platforms.Ordered(platforms.DefaultSpec())
	children = images.SetChildrenMappedLabels(store, children, gcLabels)
	children = withGuard(images.LimitManifests(images.FilterPlatforms(children, platform), platform, 1))
	children = s.withTotal(children, store)
	s.content, s.children = store, children
	if s.ownUnpack {
		return withoutLayers(children)
	}
	return children
}

// withTotal records the layers that have to be fetched, for the progress of the pull.
func (s *storeTarget) withTotal(children images.HandlerFunc, store content.InfoProvider) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := children(ctx, desc)
		for _, child := range found {
			if !images.IsLayerType(child.MediaType) {
				continue
			}
			if _, err := store.Info(ctx, child.Digest); errdefs.IsNotFound(err) {
				s.source.traffic.expect(child)
			}
		}
		return found, err
	}
}

// maxLayers bounds the layers of an image: overlayfs allows no more lower directories for one
// mount.
const maxLayers = 500

// withLayerLimit refuses a manifest with more layers than can be mounted, before the layers are
// fetched.
func withLayerLimit(children images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := children(ctx, desc)
		if err == nil && images.IsManifestType(desc.MediaType) && len(found) > maxLayers+1 {
			err = fmt.Errorf("manifest %s: more than %d layers: %w", desc.Digest, maxLayers, errdefs.ErrInvalidArgument)
		}
		return found, err
	}
}

// Store saves the target of the transfer. If the transfer service does not unpack, Store fetches
// and unpacks the layers.
func (s *storeTarget) Store(ctx context.Context, target ocispec.Descriptor, _ images.Store) ([]images.Image, error) {
	s.target = target
	if !s.ownUnpack {
		return nil, nil
	}
	return nil, s.unpack(ctx)
}

// unpack unpacks the layers that the snapshotter does not have. It fetches them first, unless the
// snapshotter does that itself.
func (s *storeTarget) unpack(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := s.p.m
	unpacker, err := unpack.NewUnpacker(ctx, s.content, unpack.WithUnpackPlatform(unpack.Platform{
		SnapshotterKey: s.p.snapshotter,
		Snapshotter:    m.deps.Snapshotter(s.p.snapshotter),
		Applier:        m.deps.Applier,
		ApplyOpts:      []diff.ApplyOpt{diff.WithSyncFs(s.p.settings.SyncLayers)},
	}))
	if err != nil {
		return fmt.Errorf("unpack with snapshotter %s: %w", s.p.snapshotter, err)
	}
	origin, err := docker.AppendDistributionSourceLabel(s.content, s.p.name)
	if err != nil {
		return err
	}
	fetch := images.Handlers(remotes.FetchHandler(s.content, s.source.fetcher), s.children, origin)
	err = images.Dispatch(ctx, unpacker.Unpack(fetch), nil, s.target)
	if err != nil {
		cancel()
	}
	_, failed := unpacker.Wait()
	if err != nil {
		return err // the cause of failed
	}
	return failed
}

// criLabels is the prefix of the labels by which remote snapshotters find a layer in its registry.
const criLabels = "containerd.io/snapshot/cri."

// withoutReservedLabels drops annotations of layers that would control the snapshotter, because an
// image is untrusted: the mapping of user and group ids (GHSA-5p7c-hggf-c748), the size of the
// snapshot, and the source to fetch it from. Other annotations are kept: images of nydus, stargz
// and SOCI store their indexes in them.
func withoutReservedLabels(children images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := children(ctx, desc)
		for _, child := range found {
			maps.DeleteFunc(child.Annotations, func(key, _ string) bool { return isReservedLabel(key) })
		}
		return found, err
	}
}

// isReservedLabel reports whether a snapshot label must never come from an image.
func isReservedLabel(key string) bool {
	switch key {
	case snapshots.LabelSnapshotUIDMapping, snapshots.LabelSnapshotGIDMapping, snapshots.LabelSnapshotMaxSize,
		snapshots.LabelSnapshotRef, snapshots.LabelSnapshotDiffID:
		return true
	}
	return strings.HasPrefix(key, criLabels)
}

// withGuard turns a panic in a handler into an error of the pull: containerd calls handlers, which
// parse content of a registry, in goroutines of its own.
func withGuard(children images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return guard.Value(ctx, "read manifest", func() ([]ocispec.Descriptor, error) { return children(ctx, desc) })
	}
}

func withoutLayers(children images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := children(ctx, desc)
		return slices.DeleteFunc(found, func(d ocispec.Descriptor) bool { return images.IsLayerType(d.MediaType) }), err
	}
}
