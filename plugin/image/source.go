// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registrySource is where the transfer service takes an image from. containerd's
// own source, core/transfer/registry, knows one hosts directory, no registry
// tokens, sends no headers to token servers and does not show its traffic.
type registrySource struct {
	name     string
	resolver remotes.Resolver
	limit    []transfer.ImageResolverOption

	resolved atomic.Bool // whether the registry said what the name stands for
	admitted atomic.Bool // whether a fetcher was asked for
	fetched  atomic.Bool // whether any content was asked for
}

var (
	_ transfer.ImageFetcher              = (*registrySource)(nil)
	_ transfer.ImageResolverOptionSetter = (*registrySource)(nil)
)

// source returns the registry of an image, with its mirrors.
func (m *Manager) source(ctx context.Context, name string, creds credentials, traffic *meter) *registrySource {
	s := &registrySource{
		name: name,
		resolver: docker.NewResolver(docker.ResolverOptions{
			Hosts:   m.registryHosts(ctx, creds, traffic),
			Headers: m.opts.Headers,
		}),
	}
	if m.downloads != nil {
		s.limit = []transfer.ImageResolverOption{
			transfer.WithDownloadLimiter(m.downloads),
			transfer.WithMaxConcurrentDownloads(m.opts.MaxConcurrentDownloads),
		}
	}
	if size := m.opts.LayerFetchBuffer; size > 0 {
		s.limit = append(s.limit, transfer.WithConcurrentLayerFetchBuffer(size))
	}
	return s
}

// registryHosts returns the function that finds the hosts to ask for a registry,
// by hosts.toml. The files are read for each pull: a change needs no restart.
func (m *Manager) registryHosts(ctx context.Context, creds credentials, traffic *meter) docker.RegistryHosts {
	hosts := config.ConfigureHosts(ctx, config.HostOptions{
		HostDir:        hostDir(m.opts.HostsDirs),
		Credentials:    m.hostCredentials(creds),
		AuthorizerOpts: []docker.AuthorizerOpt{docker.WithAuthHeader(m.opts.Headers)},
		UpdateClient: func(client *http.Client) error {
			client.Transport = traffic.wrap(client.Transport)
			return nil
		},
	})
	if creds.registryToken == "" {
		return hosts
	}
	return func(name string) ([]docker.RegistryHost, error) {
		found, err := hosts(name)
		for i := range found {
			found[i].Authorizer = &tokenAuthorizer{creds: creds}
		}
		return found, err
	}
}

// hostDir returns the function that finds the directory of a registry in a list
// of roots.
func hostDir(roots []string) func(host string) (string, error) {
	return func(host string) (string, error) {
		for _, root := range roots {
			dir, err := config.HostDirFromRoot(root)(host)
			if !errdefs.IsNotFound(err) {
				return dir, err
			}
		}
		return "", errdefs.ErrNotFound
	}
}

// String names the source in the progress of the transfer service.
func (s *registrySource) String() string { return s.name }

// Resolve asks the registry what the image's name stands for.
func (s *registrySource) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	name, target, err := s.resolver.Resolve(ctx, s.name)
	if err == nil && target.MediaType == images.MediaTypeDockerSchema1Manifest {
		err = fmt.Errorf("image of schema 1, which nobody supports any more (push it again with a newer tool): %w", errdefs.ErrInvalidArgument)
	}
	s.resolved.Store(err == nil)
	return name, target, err
}

// refused tells whether an image verifier of containerd ended the pull. They are
// asked once the name is resolved and before there is a fetcher, and nothing else
// is: the transfer service gives their errors no class.
func (s *registrySource) refused() bool { return s.resolved.Load() && !s.admitted.Load() }

// SetResolverOptions takes the transfer service's settings, then ours.
func (s *registrySource) SetResolverOptions(opts ...transfer.ImageResolverOption) {
	if r, ok := s.resolver.(remotes.ResolverWithOptions); ok {
		r.SetOptions(opts...)
		r.SetOptions(s.limit...)
	}
}

// Fetcher returns what fetches the content of the image.
func (s *registrySource) Fetcher(ctx context.Context, name string) (transfer.Fetcher, error) {
	s.admitted.Store(true)
	fetcher, err := s.resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	return boundedFetcher{source: s, next: fetcher}, nil
}

// boundedFetcher refuses content that will be read into memory and declares to be large.
type boundedFetcher struct {
	source *registrySource
	next   transfer.Fetcher
}

// Fetch opens content at the registry.
func (f boundedFetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	f.source.fetched.Store(true)
	inMemory := images.IsManifestType(desc.MediaType) || images.IsIndexType(desc.MediaType) || images.IsConfigType(desc.MediaType)
	if inMemory && desc.Size > maxMetadata {
		return nil, oversized(desc, desc.Size)
	}
	return f.next.Fetch(ctx, desc)
}

// storeTarget is where the transfer service puts an image: content and snapshots
// as containerd's image store would have it, but no image record. The pull makes
// the records when all else is well, and so leaves none if it is not.
type storeTarget struct {
	*imageStore
	discard bool // whether garbage collection may take the layers
	target  ocispec.Descriptor
}

// imageStore gives the embedded store a name other than that of its method.
type imageStore = transferimage.Store

// newStoreTarget unpacks into the snapshotter; with none it only fetches. With
// discard the image does not keep its layers.
func newStoreTarget(name, snapshotter string, discard bool) *storeTarget {
	platform := platforms.DefaultSpec()
	opts := []transferimage.StoreOpt{transferimage.WithPlatforms(platform), transferimage.WithManifestLimit(1)}
	if snapshotter != "" {
		opts = append(opts, transferimage.WithUnpack(platform, snapshotter))
	}
	return &storeTarget{imageStore: transferimage.NewStore(name, opts...), discard: discard}
}

// ImageFilter lists what to fetch of an image, and labels each part with what it
// keeps from garbage collection.
func (s *storeTarget) ImageFilter(children images.HandlerFunc, store content.Store) images.HandlerFunc {
	if !s.discard {
		return s.imageStore.ImageFilter(children, store)
	}
	platform := platforms.Default()
	labelled := images.SetChildrenMappedLabels(store, children, images.ChildGCLabelsFilterLayers)
	return images.LimitManifests(images.FilterPlatforms(labelled, platform), platform, 1)
}

// Store remembers what was fetched.
func (s *storeTarget) Store(_ context.Context, target ocispec.Descriptor, _ images.Store) ([]images.Image, error) {
	s.target = target
	return nil, nil
}
