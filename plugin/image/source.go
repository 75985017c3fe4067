// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// registrySource is the source of an image for the transfer service. It replaces containerd's own
// source, core/transfer/registry, which supports one hosts directory only and no registry tokens,
// sends no headers to token servers and does not expose its traffic.
type registrySource struct {
	name     string
	resolver remotes.Resolver
	traffic  *meter
	settings []transfer.ImageResolverOption // from config.toml

	resolved         atomic.Bool      // set when the name was resolved to a descriptor
	fetcherRequested atomic.Bool      // set when the transfer service requested a fetcher
	contentRequested atomic.Bool      // set when the transfer service requested content
	fetcher          transfer.Fetcher // the requested fetcher
}

var (
	_ transfer.ImageFetcher              = (*registrySource)(nil)
	_ transfer.ImageResolverOptionSetter = (*registrySource)(nil)
)

// source returns the source of an image: its registry, with the mirrors.
func (s *settings) source(ctx context.Context, name string, creds credentials, traffic *meter) *registrySource {
	source := &registrySource{
		name:    name,
		traffic: traffic,
		resolver: docker.NewResolver(docker.ResolverOptions{
			Hosts:   s.access.registryHosts(ctx, creds, traffic),
			Headers: s.Headers,
		}),
	}
	if s.downloads != nil {
		source.settings = []transfer.ImageResolverOption{
			transfer.WithDownloadLimiter(s.downloads),
			transfer.WithMaxConcurrentDownloads(s.MaxConcurrentDownloads),
		}
	}
	if size := s.LayerFetchBuffer; size > 0 {
		source.settings = append(source.settings, transfer.WithConcurrentLayerFetchBuffer(size))
	}
	return source
}

// String returns the name of the source in the progress of the transfer service.
func (s *registrySource) String() string { return s.name }

// Resolve asks the registry for the descriptor of the image's name.
func (s *registrySource) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	name, target, err := s.resolver.Resolve(ctx, s.name)
	if err == nil && target.MediaType == images.MediaTypeDockerSchema1Manifest {
		err = fmt.Errorf("image of Docker schema 1 is not supported (push it again with a newer tool): %w", errdefs.ErrInvalidArgument)
	}
	s.resolved.Store(err == nil)
	return name, target, err
}

// refused reports whether an image verifier of containerd refused the pull. The transfer service
// calls verifiers, and nothing else, after Resolve and before Fetcher. Their errors have no class.
func (s *registrySource) refused() bool { return s.resolved.Load() && !s.fetcherRequested.Load() }

// SetResolverOptions applies the settings of the transfer service, then those of config.toml.
func (s *registrySource) SetResolverOptions(opts ...transfer.ImageResolverOption) {
	if r, ok := s.resolver.(remotes.ResolverWithOptions); ok {
		r.SetOptions(opts...)
		r.SetOptions(s.settings...)
	}
}

// Fetcher returns a fetcher for the content of the image.
func (s *registrySource) Fetcher(ctx context.Context, name string) (transfer.Fetcher, error) {
	s.fetcherRequested.Store(true)
	fetcher, err := s.resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	s.fetcher = boundedFetcher{source: s, next: fetcher}
	return s.fetcher, nil
}

// boundedFetcher refuses content that is read into memory and whose descriptor declares a large
// size. containerd's fetcher ends a body that is longer than the size in its descriptor.
type boundedFetcher struct {
	source *registrySource
	next   transfer.Fetcher
}

// Fetch opens content at the registry. containerd calls Fetch in goroutines of its own.
func (f boundedFetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return guard.Value(ctx, "fetch", func() (io.ReadCloser, error) { return f.open(ctx, desc) })
}

func (f boundedFetcher) open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	f.source.contentRequested.Store(true)
	inMemory := images.IsManifestType(desc.MediaType) || images.IsIndexType(desc.MediaType) || images.IsConfigType(desc.MediaType)
	if inMemory && desc.Size > maxMetadata {
		return nil, oversized(desc, desc.Size)
	}
	content, err := f.next.Fetch(withContentMark(ctx), desc)
	if err != nil || !images.IsLayerType(desc.MediaType) {
		return content, err
	}
	return f.source.traffic.layer(content), nil
}
