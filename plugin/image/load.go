// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/usage"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxMetadata bounds a manifest, index or config in bytes. They are read into memory, and an
	// image can declare any size (CVE-2023-25153).
	maxMetadata = 8 << 20
	// maxAnnotations and maxUser bound the bytes that an image adds to each ListImages response.
	// The response for the whole node must stay below 16 MiB, the limit of containerd and the
	// kubelet for a gRPC message.
	maxAnnotations = 8 << 10
	maxUser        = 1 << 10
)

// load reads the image that a target has for the platform of this node. The result has no names.
// Missing content is NotFound; content that is not an image is InvalidArgument.
func load(ctx context.Context, store content.InfoReaderProvider, target ocispec.Descriptor) (*Image, error) {
	store = boundedStore{store}
	platform := platforms.Default()
	manifest, err := images.Manifest(ctx, store, target, platform)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := manifest.Config.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("manifest: config digest: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	blob, err := content.ReadBlob(ctx, store, manifest.Config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var spec ocispec.Image
	if err := json.Unmarshal(blob, &spec); err != nil {
		return nil, fmt.Errorf("config %s: %w: %w", manifest.Config.Digest, err, errdefs.ErrInvalidArgument)
	}
	if err := checkConfig(&manifest, &spec); err != nil {
		return nil, err
	}
	size, err := usage.CalculateImageUsage(ctx, images.Image{Target: target}, store,
		usage.WithManifestLimit(platform, 1), usage.WithManifestUsage())
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	return &Image{
		ID:          manifest.Config.Digest.String(),
		Target:      target,
		ChainID:     identity.ChainID(spec.RootFS.DiffIDs),
		Size:        max(size, 1),
		Spec:        spec,
		Annotations: boundedAnnotations(manifest.Annotations),
	}, nil
}

// checkConfig refuses content that is stored like an image but cannot run as a container.
func checkConfig(manifest *ocispec.Manifest, spec *ocispec.Image) error {
	if len(spec.RootFS.DiffIDs) == 0 && len(manifest.Layers) > 0 {
		return fmt.Errorf("%s with %d layers is an artifact, not a container image: %w",
			cmp.Or(manifest.ArtifactType, manifest.Config.MediaType), len(manifest.Layers), errdefs.ErrInvalidArgument)
	}
	for _, id := range spec.RootFS.DiffIDs {
		if err := id.Validate(); err != nil {
			return fmt.Errorf("config: diff id: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	if len(spec.Config.User) > maxUser {
		return fmt.Errorf("config: user: has %d bytes, the maximum is %d: %w", len(spec.Config.User), maxUser, errdefs.ErrInvalidArgument)
	}
	return nil
}

// boundedAnnotations returns the annotations, or nil if they are too large to be listed.
func boundedAnnotations(annotations map[string]string) map[string]string {
	size := 0
	for key, value := range annotations {
		size += len(key) + len(value)
	}
	if size > maxAnnotations {
		return nil
	}
	return annotations
}

// boundedStore is a content store that refuses to open large blobs.
type boundedStore struct {
	content.InfoReaderProvider
}

// ReaderAt opens a blob of at most maxMetadata bytes.
func (b boundedStore) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	ra, err := b.InfoReaderProvider.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	if size := ra.Size(); size > maxMetadata {
		ra.Close()
		return nil, oversized(desc, size)
	}
	return ra, nil
}

// oversized returns the error for a manifest, index or config that is too large.
func oversized(desc ocispec.Descriptor, size int64) error {
	return fmt.Errorf("%s %s: has %d bytes, the maximum is %d: %w", desc.MediaType, desc.Digest, size, maxMetadata, errdefs.ErrInvalidArgument)
}
