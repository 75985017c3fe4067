// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// remoteSnapshotter records the labels of the layers that are prepared. If has returns true for a
// layer, it commits the layer itself, as a remote snapshotter does that fetches files when a
// container reads them.
type remoteSnapshotter struct {
	snapshots.Snapshotter
	has func(labels map[string]string) bool // nil means none

	mu     sync.Mutex
	layers []map[string]string // guarded by mu
}

func (s *remoteSnapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return nil, err
		}
	}
	mounts, err := s.Snapshotter.Prepare(ctx, key, parent, opts...)
	if err != nil || info.Labels[snapshots.LabelSnapshotRef] == "" {
		return mounts, err
	}
	s.mu.Lock()
	s.layers = append(s.layers, info.Labels)
	s.mu.Unlock()
	if s.has == nil || !s.has(info.Labels) {
		return mounts, nil
	}
	if err := s.Commit(ctx, key+"-remote", key, opts...); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("snapshot %s: %w", key, errdefs.ErrAlreadyExists)
}

// prepared returns the recorded labels of the layers, in order, and clears the record.
func (s *remoteSnapshotter) prepared() []map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	layers := s.layers
	s.layers = nil
	return layers
}

// annotate sets annotations of each layer in the manifest of an image.
func annotate(t *testing.T, img v1.Image, annotations map[string]string) v1.Image {
	t.Helper()
	layers, err := img.Layers()
	must(t, err)
	file, err := img.ConfigFile()
	must(t, err)
	file = file.DeepCopy()
	file.RootFS.DiffIDs, file.History = nil, nil
	empty, err := mutate.ConfigFile(mutate.MediaType(emptyImage(), "application/vnd.oci.image.manifest.v1+json"), file)
	must(t, err)
	for _, layer := range layers {
		empty, err = mutate.Append(empty, mutate.Addendum{Layer: layer, Annotations: annotations})
		must(t, err)
	}
	return empty
}

// digests returns the digests of the layers of an image.
func digests(t *testing.T, img v1.Image) []string {
	t.Helper()
	manifest, err := img.Manifest()
	must(t, err)
	var all []string
	for _, layer := range manifest.Layers {
		all = append(all, layer.Digest.String())
	}
	return all
}

// TestSnapshottersGetLayerLabels checks that layers get the labels of the built-in CRI if
// configured, for snapshotters with and without an entry in unpack_config, and no label of the
// image that controls a snapshotter.
func TestSnapshottersGetLayerLabels(t *testing.T) {
	hostile := map[string]string{
		"containerd.io/snapshot/uidmapping":            "0:0:4294967295",
		"containerd.io/snapshot/gidmapping":            "0:0:4294967295",
		"containerd.io/snapshot/max-size":              "1",
		"containerd.io/snapshot/cri.image-ref":         "evil.test/image:tag",
		"containerd.io/snapshot/cri.other":             "x",
		"containerd.io/snapshot/stargz/toc.digest":     "sha256:toc",
		"containerd.io/snapshot.ref":                   "sha256:other",
		"containerd.io/snapshot/diff-id":               "sha256:other",
		"org.example/not-for-snapshotters":             "x",
		"containerd.io/snapshot/parent-chain-id/other": "x",
	}
	for name, snapshotter := range map[string]string{"lite": defaultSnapshotter, "kata": otherSnapshotter} {
		for _, annotated := range []bool{true, false} {
			t.Run(fmt.Sprint(snapshotter, " ", annotated), func(t *testing.T) {
				n, reg := newNode(t), newRegistry(t)
				m := n.start(t, Options{
					HandlerSnapshotters: handlers,
					Annotated:           func(s string) bool { return annotated && s == snapshotter },
				})
				ref, img := reg.ref("app:v1"), annotate(t, newImage(t, 3, nil), hostile)
				reg.push(t, ref, img)
				for range 2 { // the second pull uses the cached result of the first in ownUnpack
					_, err := m.Pull(t.Context(), handlerSpec(ref, name), nil, nil)
					must(t, err)
					checkLabels(t, n.remotes[snapshotter].prepared(), ref, img, annotated)
					must(t, m.Remove(t.Context(), spec(ref)))
					n.checkEmpty(t)
				}
			})
		}
	}
}

// checkLabels compares the labels of the layers of an image with those of the built-in CRI.
func checkLabels(t *testing.T, got []map[string]string, ref string, img v1.Image, annotated bool) {
	t.Helper()
	layers := digests(t, img)
	if len(got) != len(layers) {
		t.Fatalf("%d layers prepared, want %d", len(got), len(layers))
	}
	for i, labels := range got {
		if ref := labels[snapshots.LabelSnapshotRef]; ref == "sha256:other" || labels[snapshots.LabelSnapshotDiffID] == "sha256:other" {
			t.Errorf("layer %d: the image set a reserved label: %v", i, labels)
		}
		want := map[string]string{
			"containerd.io/snapshot/stargz/toc.digest":     "sha256:toc",
			"containerd.io/snapshot/parent-chain-id/other": "x",
		}
		if annotated {
			maps.Copy(want, map[string]string{
				"containerd.io/snapshot/cri.image-ref":       ref,
				"containerd.io/snapshot/cri.layer-digest":    layers[i],
				"containerd.io/snapshot/cri.manifest-digest": digestOf(t, img),
				"containerd.io/snapshot/cri.image-layers":    strings.Join(layers[i:], ","),
			})
		}
		for _, key := range []string{"containerd.io/snapshot.ref", "containerd.io/snapshot/diff-id", "containerd.io/snapshot/parent-chain-id"} {
			delete(labels, key)
		}
		if diff := cmp.Diff(want, labels); diff != "" {
			t.Errorf("labels of layer %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestLazyLayersAreNotFetched pulls an image whose first two layers the snapshotter provides. Only
// the third is fetched.
func TestLazyLayersAreNotFetched(t *testing.T) {
	for name, snapshotter := range map[string]string{"lite": defaultSnapshotter, "kata": otherSnapshotter} {
		t.Run(snapshotter, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{HandlerSnapshotters: handlers, Annotated: func(string) bool { return true }})
			ref, img := reg.ref("app:v1"), newImage(t, 3, nil)
			reg.push(t, ref, img)
			layers := digests(t, img)
			n.remotes[snapshotter].has = func(labels map[string]string) bool {
				digest := labels["containerd.io/snapshot/cri.layer-digest"]
				return digest == layers[0] || digest == layers[1]
			}
			var mu sync.Mutex
			fetched := map[string]bool{}
			reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/"); ok {
					mu.Lock()
					fetched[digest] = true
					mu.Unlock()
				}
				next.ServeHTTP(w, r)
			})
			id, err := m.Pull(t.Context(), handlerSpec(ref, name), nil, nil)
			must(t, err)
			if diff := cmp.Diff(map[string]bool{id: true, layers[2]: true}, fetched); diff != "" {
				t.Errorf("fetched blobs (-want +got):\n%s", diff)
			}
			resolved, err := m.Resolve(t.Context(), id)
			must(t, err)
			must(t, m.Unpack(t.Context(), resolved, snapshotter)) // already unpacked
			must(t, m.Remove(t.Context(), spec(id)))
			n.checkEmpty(t)
		})
	}
}
