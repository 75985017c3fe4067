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

// registrySource is where the transfer service takes an image from. containerd's
// own source, core/transfer/registry, knows one hosts directory, no registry
// tokens, sends no headers to token servers and does not show its traffic.
type registrySource struct {
	name     string
	resolver remotes.Resolver
	limit    []transfer.ImageResolverOption

	resolved atomic.Bool      // whether the registry said what the name stands for
	admitted atomic.Bool      // whether a fetcher was asked for
	fetched  atomic.Bool      // whether any content was asked for
	fetcher  transfer.Fetcher // the one that was asked for
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
	s.fetcher = boundedFetcher{source: s, next: fetcher}
	return s.fetcher, nil
}

// boundedFetcher refuses content that will be read into memory and declares to be large.
// containerd's fetcher ends a body that is longer than its content declares to be.
type boundedFetcher struct {
	source *registrySource
	next   transfer.Fetcher
}

// Fetch opens content at the registry. containerd calls it in goroutines of its own.
func (f boundedFetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return guard.Value(ctx, "fetch", func() (io.ReadCloser, error) { return f.open(ctx, desc) })
}

func (f boundedFetcher) open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	f.source.fetched.Store(true)
	inMemory := images.IsManifestType(desc.MediaType) || images.IsIndexType(desc.MediaType) || images.IsConfigType(desc.MediaType)
	if inMemory && desc.Size > maxMetadata {
		return nil, oversized(desc, desc.Size)
	}
	return f.next.Fetch(ofContent(ctx), desc)
}
