// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// importImage adds an image without layers to containerd, as another tool would. It returns the id
// and the manifest.
func (n *node) importImage(t *testing.T, seed string, names ...string) (id string, target ocispec.Descriptor) {
	t.Helper()
	config := n.write(t, ocispec.MediaTypeImageConfig, fmt.Sprintf(
		`{"architecture":%q,"os":"linux","author":%q,"rootfs":{"type":"layers","diff_ids":[]}}`, thisArchitecture(), seed), nil)
	target = n.write(t, ocispec.MediaTypeImageManifest, fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[],"annotations":{"seed":%q}}`,
		ocispec.MediaTypeImageManifest, config.MediaType, config.Digest, config.Size, seed),
		map[string]string{"containerd.io/gc.ref.content.config": config.Digest.String()})
	n.tag(t, target, names...)
	return config.Digest.String(), target
}

func (n *node) tag(t *testing.T, target ocispec.Descriptor, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := n.images.Create(n.ctx, images.Image{Name: name, Target: target})
		must(t, err)
	}
}

// tagsOf returns the tags of an image in the index, nil if the image is not in the index.
func (m *Manager) tagsOf(id string) []string {
	img := m.index.view.Load().byID[id]
	if img == nil {
		return nil
	}
	return append([]string{}, img.Tags...)
}

func TestImagesOfOtherToolsAreSeenAndAdopted(t *testing.T) {
	const before, after = "docker.io/library/before:1", "docker.io/library/after:1"
	n := newNode(t)
	idBefore, _ := n.importImage(t, "before", before)
	m := n.start(t, Options{Pinned: []string{"after:1"}})
	if got := m.tagsOf(idBefore); !slices.Equal(got, []string{before}) {
		t.Errorf("image imported before the start has tags %q", got)
	}

	idAfter, target := n.importImage(t, "after", after)
	wait(t, "the image to be adopted", func() bool { return slices.Contains(n.names(t), idAfter) && m.tagsOf(idAfter) != nil })
	for name, want := range map[string]map[string]string{
		before:   {labelManaged: valueManaged},
		idBefore: {labelManaged: valueManaged},
		idAfter:  {labelManaged: valueManaged, labelPinned: valuePinned},
	} {
		record, err := n.images.Get(n.ctx, name)
		must(t, err)
		if !maps.Equal(record.Labels, want) {
			t.Errorf("labels of %s are %v, want %v", name, record.Labels, want)
		}
	}
	wait(t, "the pin", func() bool { return m.index.view.Load().byID[idAfter].Pinned })

	pin := images.Image{Name: before, Labels: map[string]string{labelPinned: valuePinned}}
	_, err := n.images.Update(n.ctx, pin, "labels."+labelPinned)
	must(t, err)
	wait(t, "the pin of another tool", func() bool { return m.index.view.Load().byID[idBefore].Pinned })

	n.tag(t, target, "docker.io/library/after:2")
	wait(t, "a second tag", func() bool { return len(m.tagsOf(idAfter)) == 2 })
	must(t, n.images.Delete(n.ctx, after))
	must(t, n.images.Delete(n.ctx, "docker.io/library/after:2"))
	wait(t, "the removal of the tags", func() bool { tags := m.tagsOf(idAfter); return tags != nil && len(tags) == 0 })
	must(t, n.images.Delete(n.ctx, idAfter))
	wait(t, "the removal of the image", func() bool { return m.tagsOf(idAfter) == nil })
}

func TestImagesOfOtherNamespacesAreNotSeen(t *testing.T) {
	n := newNode(t)
	other := &node{ctx: withNamespace(t, "other"), images: n.images, content: n.content}
	m := n.start(t, Options{})
	id, _ := other.importImage(t, "other", "docker.io/library/other:1")
	mine, _ := n.importImage(t, "mine", "docker.io/library/mine:1") // its event is published later
	wait(t, "my image", func() bool { return m.tagsOf(mine) != nil })
	if m.tagsOf(id) != nil {
		t.Error("image of another namespace is listed")
	}
}

func TestBrokenImagesDoNotHideOthers(t *testing.T) {
	n := newNode(t)
	manifest := func(config string) ocispec.Descriptor {
		return n.write(t, ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":`+config+`}`, nil)
	}
	n.tag(t, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4}, "x.test/gone:1")
	n.tag(t, n.write(t, ocispec.MediaTypeImageManifest, `{`, nil), "x.test/json:1")
	n.tag(t, n.write(t, ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{},"manifests":[{}]}`, nil), "x.test/both:1")
	n.tag(t, n.write(t, "text/plain", `hello`, nil), "x.test/text:1")
	n.tag(t, manifest(`{"digest":"x","mediaType":"`+ocispec.MediaTypeImageConfig+`"}`), "x.test/digest:1")
	bad := n.write(t, ocispec.MediaTypeImageConfig, `{"rootfs":{"diff_ids":["x"]}}`, nil)
	n.tag(t, manifest(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, bad.MediaType, bad.Digest, bad.Size)), "x.test/diffid:1")
	good, _ := n.importImage(t, "good", "docker.io/library/good:1", "not a reference")

	m := n.start(t, Options{})
	list, err := m.List(t.Context(), nil)
	must(t, err)
	if len(list) != 1 || list[0].Id != good {
		t.Errorf("list is %v, want only %s", list, good)
	}
	for _, ref := range []string{"x.test/gone:1", "x.test/json:1", "x.test/diffid:1"} {
		resp, err := m.Status(t.Context(), spec(ref), false)
		must(t, err)
		if resp.Image != nil {
			t.Errorf("status of %s is %v", ref, resp.Image)
		}
	}
	resp, err := m.Status(t.Context(), spec("not a reference"), false)
	must(t, err)
	if resp.Image.GetId() != good {
		t.Errorf("image with a free name is %v", resp.Image)
	}
}

func TestAnnotationsAreBounded(t *testing.T) {
	small := map[string]string{"a": "b"}
	if d := cmp.Diff(small, boundedAnnotations(small)); d != "" {
		t.Error(d)
	}
	if got := boundedAnnotations(map[string]string{"a": string(make([]byte, maxAnnotations))}); got != nil {
		t.Errorf("%d annotations are returned", len(got))
	}
}

func TestLargeMetadataIsNotRead(t *testing.T) {
	n := newNode(t)
	huge := n.write(t, ocispec.MediaTypeImageManifest, string(make([]byte, maxMetadata+1)), nil)
	_, err := load(n.ctx, n.content, huge)
	checkClass(t, err, errdefs.ErrInvalidArgument)
}

// TestIndexFollowsUnderLoad changes names concurrently in containerd and through the Manager, and
// compares the index with containerd afterwards.
func TestIndexFollowsUnderLoad(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	var targets []ocispec.Descriptor
	for i := range 3 {
		_, target := n.importImage(t, fmt.Sprint(i))
		targets = append(targets, target)
	}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("docker.io/library/app:%d", (w+i)%3)
				switch (w + i) % 4 {
				case 0:
					_ = n.images.Delete(n.ctx, name)
				case 1:
					_ = m.Remove(n.ctx, spec(name))
				default:
					_, _ = m.put(n.ctx, images.Image{Name: name, Target: targets[i%3]})
				}
				_, _ = m.List(n.ctx, nil)
			}
		})
	}
	writers.Wait()
	wait(t, "the index to agree with containerd", func() bool {
		all, err := n.images.List(n.ctx)
		must(t, err)
		want := map[string]digest.Digest{}
		for _, img := range all {
			want[img.Name] = img.Target.Digest
		}
		m.index.mu.Lock()
		defer m.index.mu.Unlock()
		got := map[string]digest.Digest{}
		for name, rec := range m.index.names {
			got[name] = rec.content.Target.Digest
		}
		return maps.Equal(got, want)
	})
}

// brokenEvents is an event service whose first subscription fails.
type brokenEvents struct {
	events.Subscriber
	calls atomic.Int64
}

func (b *brokenEvents) Subscribe(ctx context.Context, filters ...string) (<-chan *events.Envelope, <-chan error) {
	if b.calls.Add(1) > 1 {
		return b.Subscriber.Subscribe(ctx, filters...)
	}
	errs := make(chan error, 1)
	errs <- errors.New("subscription ended")
	return make(chan *events.Envelope), errs
}

func TestIndexSurvivesTheLossOfEvents(t *testing.T) {
	n := newNode(t)
	n.deps.Events = &brokenEvents{Subscriber: n.deps.Events}
	early, _ := n.importImage(t, "early", "docker.io/library/early:1")
	m := n.start(t, Options{})
	id, _ := n.importImage(t, "late", "docker.io/library/late:1") // no event is received
	must(t, n.images.Delete(n.ctx, "docker.io/library/early:1"))
	must(t, n.images.Delete(n.ctx, early))
	wait(t, "the images to be read again", func() bool { return m.tagsOf(id) != nil && m.tagsOf(early) == nil })
}

// failingStore is an image store whose nth creation fails.
type failingStore struct {
	images.Store
	left int
}

func (f *failingStore) Create(ctx context.Context, img images.Image) (images.Image, error) {
	if f.left--; f.left == 0 {
		return images.Image{}, errdefs.ErrInternal
	}
	return f.Store.Create(ctx, img)
}

func TestPullThatCannotBeRecordedLeavesNothing(t *testing.T) {
	for nth := 1; nth <= 3; nth++ {
		n, reg := newNode(t), newRegistry(t)
		n.deps.Images = &failingStore{Store: n.images, left: nth}
		m := n.start(t, Options{})
		ref := reg.add(t, "app:v1", newImage(t, 1, nil))
		_, err := m.Pull(t.Context(), spec(ref), nil, nil)
		checkClass(t, err, errdefs.ErrInternal)
		n.checkEmpty(t)
		if list, _ := m.List(t.Context(), nil); len(list) > 0 {
			t.Errorf("list is %v", list)
		}
	}
}

func TestNewRefusesSettings(t *testing.T) {
	n := newNode(t)
	_, err := New(t.Context(), Options{Snapshotter: "missing", StatsPeriod: 1}, n.deps)
	checkClass(t, err, errdefs.ErrNotFound)
	_, err = New(t.Context(), Options{Snapshotter: defaultSnapshotter}, n.deps)
	checkClass(t, err, errdefs.ErrInvalidArgument)
	_, err = New(t.Context(), Options{
		Snapshotter: defaultSnapshotter,
		StatsPeriod: 1,
		Registries:  Registries{Credentials: map[string]*runtimeapi.AuthConfig{"registry.test": {Auth: "!"}}},
	}, n.deps)
	checkClass(t, err, errdefs.ErrInvalidArgument)
	if !strings.Contains(fmt.Sprint(err), "registry.test") {
		t.Errorf("error should name the registry: %v", err)
	}
}
