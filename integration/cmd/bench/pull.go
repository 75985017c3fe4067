// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// The image that is pulled, and how often per round and daemon.
const (
	pullRuns   = 2
	pullLayers = 8
	pullBytes  = 200 << 20
	pullRef    = "docker.io/library/large:latest"
)

// pulls returns a load that pulls an image of which the daemon has no content. The image is built
// on first use.
func pulls() func(ctx context.Context, s *session) error {
	large := sync.OnceValues(func() (v1.Image, error) { return image.Large(pullLayers, pullBytes) })
	return func(ctx context.Context, s *session) error {
		img, err := large()
		if err != nil {
			return err
		}
		return pull(ctx, s, img)
	}
}

func pull(ctx context.Context, s *session, large v1.Image) error {
	if err := s.bench.Registry.Push(ctx, pullRef, large); err != nil {
		return err
	}
	for range pullRuns {
		unix.Sync() // the pull must not wait for earlier writes of other programs
		start := time.Now()
		if err := s.client.Pull(ctx, pullRef); err != nil {
			return err
		}
		s.record("pull of 200 MiB in 8 layers", "ms", milliseconds(time.Since(start)))
		if err := removeImage(ctx, s, large); err != nil {
			return fmt.Errorf("remove the image: %w", err)
		}
	}
	return nil
}

// removeImage removes the image and waits until its content is gone: containerd collects it after
// the call.
func removeImage(ctx context.Context, s *session, img v1.Image) error {
	_, err := s.client.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: pullRef}})
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		blob := s.bench.Path("root", "io.containerd.content.v1.content", "blobs", digest.Algorithm, digest.Hex)
		if err := harness.Await(ctx, func() error { return gone(blob) }); err != nil {
			return err
		}
	}
	snapshots := s.bench.Path("root", "io.containerd.snapshotter.v1.overlayfs", "snapshots")
	return harness.Await(ctx, func() error {
		left, err := filepath.Glob(filepath.Join(snapshots, "*"))
		if err == nil && len(left) >= pullLayers {
			err = fmt.Errorf("%d snapshots are left", len(left))
		}
		return err
	})
}

func gone(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, fmt.Errorf("%s still exists", path))
}
