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

// storeTarget is where the transfer service puts an image: content and snapshots
// as containerd's image store would have it, but no image record. The pull makes
// the records when all else is well, and so leaves none if it is not.
//
// The transfer service unpacks, unless it cannot: it knows the snapshotters of its
// unpack_config only, and no way to sync. Then it fetches all but the layers, and
// Store does the rest.
type storeTarget struct {
	*imageStore
	p      *pull
	source *registrySource
	own    bool // whether Store unpacks

	content  content.Store      // of the transfer service
	children images.HandlerFunc // what to fetch of an image, and how to label it
	target   ocispec.Descriptor
}

// imageStore gives the embedded store a name other than that of its method.
type imageStore = transferimage.Store

func newStoreTarget(p *pull, source *registrySource, own bool) *storeTarget {
	var opts []transferimage.StoreOpt
	if !own {
		opts = append(opts, transferimage.WithUnpack(platforms.DefaultSpec(), p.snapshotter))
	}
	return &storeTarget{imageStore: transferimage.NewStore(p.name, opts...), p: p, source: source, own: own}
}

// ImageFilter lists what to fetch of an image, labels each part with what it keeps from garbage
// collection, and annotates layers with the labels that the snapshotter gets.
func (s *storeTarget) ImageFilter(children images.HandlerFunc, store content.Store) images.HandlerFunc {
	children = withTrustedLabels(withBoundedLayers(children))
	if s.p.m.opts.Annotated(s.p.snapshotter) {
		children = snapshotters.AppendInfoHandlerWrapper(s.p.name)(children).Handle
	}
	keeps := images.ChildGCLabels
	if s.p.m.opts.DiscardLayers {
		keeps = images.ChildGCLabelsFilterLayers
	}
	platform := platforms.Ordered(platforms.DefaultSpec())
	children = images.SetChildrenMappedLabels(store, children, keeps)
	children = withGuard(images.LimitManifests(images.FilterPlatforms(children, platform), platform, 1))
	s.content, s.children = store, children
	if s.own {
		return withoutLayers(children)
	}
	return children
}

// maxLayers bounds the layers of an image: overlayfs takes no more of them for one mount.
const maxLayers = 500

// withBoundedLayers refuses a manifest of more layers than can be mounted, before they are fetched.
func withBoundedLayers(children images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := children(ctx, desc)
		if err == nil && images.IsManifestType(desc.MediaType) && len(found) > maxLayers+1 {
			err = fmt.Errorf("manifest %s: has more than %d layers: %w", desc.Digest, maxLayers, errdefs.ErrInvalidArgument)
		}
		return found, err
	}
}

// Store remembers what was fetched, and fetches and unpacks the layers that the transfer service
// has left.
func (s *storeTarget) Store(ctx context.Context, target ocispec.Descriptor, _ images.Store) ([]images.Image, error) {
	s.target = target
	if !s.own {
		return nil, nil
	}
	return nil, s.unpack(ctx)
}

// unpack fetches each layer that the snapshotter does not have or will not fetch by itself, and
// unpacks it.
func (s *storeTarget) unpack(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := s.p.m
	unpacker, err := unpack.NewUnpacker(ctx, s.content, unpack.WithUnpackPlatform(unpack.Platform{
		SnapshotterKey: s.p.snapshotter,
		Snapshotter:    m.deps.Snapshotter(s.p.snapshotter),
		Applier:        m.deps.Applier,
		ApplyOpts:      []diff.ApplyOpt{diff.WithSyncFs(m.opts.SyncLayers)},
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
		return err // the cause of the other
	}
	return failed
}

// criLabels is the prefix of the labels by which remote snapshotters find a layer in its registry.
const criLabels = "containerd.io/snapshot/cri."

// withTrustedLabels drops annotations of layers that would steer the snapshotter, as an image is
// untrusted: the ids to shift files by (GHSA-5p7c-hggf-c748), the size of the snapshot, and where
// to fetch it from. Others stay: the images of nydus, stargz and SOCI have their indexes there.
func withTrustedLabels(children images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		found, err := children(ctx, desc)
		for _, child := range found {
			maps.DeleteFunc(child.Annotations, func(key, _ string) bool { return isTrustedLabel(key) })
		}
		return found, err
	}
}

// isTrustedLabel reports whether a label of a snapshot never comes from an image.
func isTrustedLabel(key string) bool {
	switch key {
	case snapshots.LabelSnapshotUIDMapping, snapshots.LabelSnapshotGIDMapping, snapshots.LabelSnapshotMaxSize,
		snapshots.LabelSnapshotRef, snapshots.LabelSnapshotDiffID:
		return true
	}
	return strings.HasPrefix(key, criLabels)
}

// withGuard makes a panic over what a registry has answered an error of the pull: containerd calls
// handlers in goroutines of its own.
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
