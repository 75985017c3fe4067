// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// badTransfer is a transfer service whose first call panics.
type badTransfer struct {
	transfer.Transferrer
	calls atomic.Int64
}

func (b *badTransfer) Transfer(ctx context.Context, source, target any, opts ...transfer.Opt) error {
	if b.calls.Add(1) == 1 {
		panic("boom")
	}
	return b.Transferrer.Transfer(ctx, source, target, opts...)
}

func TestPanicInAPull(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	n.deps.Transfer = &badTransfer{Transferrer: n.deps.Transfer}
	m := n.start(t, Options{})
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	checkClass(t, err, errdefs.ErrInternal)
	n.checkEmpty(t)
	_, err = m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
}

// containerd reads manifests and layers in its own goroutines. The test covers each place where
// these call this package.
func TestPanicInARegistryResponse(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.ref("app:v1")
	img := newImage(t, 1, nil)
	reg.push(t, ref, img)
	var panics atomic.Bool
	panics.Store(true)
	m.live.Load().Annotated = func(string) bool {
		if panics.Load() {
			panic("boom")
		}
		return true
	}
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	checkClass(t, err, errdefs.ErrInternal)
	panics.Store(false)
	_, err = m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)

	children := withGuard(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { panic("boom") })
	_, err = children(t.Context(), ocispec.Descriptor{})
	checkClass(t, err, errdefs.ErrInternal)

	// The fetcher is nil.
	_, err = boundedFetcher{source: new(registrySource)}.Fetch(t.Context(), ocispec.Descriptor{})
	checkClass(t, err, errdefs.ErrInternal)

	traffic := newMeter()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.invalid", nil)
	must(t, err)
	client := http.Client{Transport: traffic.wrap(transportFunc(func(*http.Request) (*http.Response, error) { panic("boom") }))}
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if got := diagnose(err).class; !errors.Is(got, errdefs.ErrInternal) {
		t.Errorf("a request that panics is of class %v, want Internal", got)
	}
	client.Transport = traffic.wrap(transportFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: badBody{}}, nil
	}))
	resp, err = client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	checkClass(t, err, errdefs.ErrInternal)
	if open := traffic.open.Load(); open != 0 {
		t.Errorf("%d requests still open after a panic", open)
	}
}

// badBody panics when it is read.
type badBody struct{}

func (badBody) Read([]byte) (int, error) { panic("boom") }
func (badBody) Close() error             { return nil }

// badStore is an image store that panics for one name.
type badStore struct {
	images.Store
	bad string
}

func (b badStore) Get(ctx context.Context, name string) (images.Image, error) {
	if name == b.bad {
		panic(name)
	}
	return b.Store.Get(ctx, name)
}

// After an event that causes a panic, the Manager follows images with a new subscription and ends
// the old one.
func TestPanicInAnImageEvent(t *testing.T) {
	n := newNode(t)
	n.deps.Images = badStore{n.images, "docker.io/library/bad:1"}
	m := n.start(t, Options{})
	before := guard.Count()
	n.importImage(t, "bad", "docker.io/library/bad:1")
	wait(t, "the panic", func() bool { return guard.Count() > before })
	id, _ := n.importImage(t, "late", "docker.io/library/late:1")
	wait(t, "the image after it", func() bool { return m.tagsOf(id) != nil })
	another, _ := n.importImage(t, "later", "docker.io/library/later:1")
	wait(t, "the image after that", func() bool { return m.tagsOf(another) != nil })
}

// badSnapshotter panics in the first walk.
type badSnapshotter struct {
	snapshots.Snapshotter
	walks atomic.Int64
}

func (b *badSnapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	if b.walks.Add(1) == 1 {
		panic("boom")
	}
	return b.Snapshotter.Walk(ctx, fn, filters...)
}

// The sampler continues after a panic.
func TestPanicInASample(t *testing.T) {
	n := newNode(t)
	bad := &badSnapshotter{Snapshotter: n.db.Snapshotter(defaultSnapshotter)}
	n.deps.Snapshotter = func(string) snapshots.Snapshotter { return bad }
	s := samplerOf(n, time.Millisecond)
	first := s.last.Load()
	ctx, cancel := context.WithCancel(n.ctx)
	ended := guard.Start(ctx, "sample", func() error { s.run(ctx); return nil })
	wait(t, "a sample", func() bool { return s.last.Load() != first })
	cancel()
	must(t, <-ended)
}
