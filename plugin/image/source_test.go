// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

func TestPullFetchesALayerInParts(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{MaxConcurrentDownloads: 3, LayerFetchBuffer: 512})
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	var ranges atomic.Int64
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		wanted := r.Header.Get("Range")
		if wanted == "" {
			next.ServeHTTP(w, r)
			return
		}
		// The test registry does not support ranges without an end.
		ranges.Add(1)
		r.Header.Del("Range")
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		r.Header.Set("Range", wanted)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole.Body.Bytes()))
	})
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	if ranges.Load() < 2 {
		t.Errorf("%d requests for a part, want more", ranges.Load())
	}
}

// TestPullSyncsLayers checks that each layer is synced to disk if that is configured.
func TestPullSyncsLayers(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(strconv.FormatBool(sync), func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{SyncLayers: sync})
			ref := reg.add(t, "app:v1", newImage(t, 2, nil))
			_, err := m.Pull(t.Context(), spec(ref), nil, nil)
			must(t, err)
			if synced := n.applier.synced.Load(); (synced == 2) != sync || !sync && synced != 0 {
				t.Errorf("%d of 2 layers synced, want sync %v", synced, sync)
			}
			must(t, m.Remove(t.Context(), spec(ref)))
			n.checkEmpty(t)
		})
	}
}

// TestPullDiscardsLayers checks that an image is complete without its compressed layers, and
// complete again after a removal and another pull.
func TestPullDiscardsLayers(t *testing.T) {
	for _, discard := range []bool{false, true} {
		t.Run(strconv.FormatBool(discard), func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{DiscardLayers: discard})
			ref, img := reg.ref("app:v1"), newImage(t, 2, nil)
			reg.push(t, ref, img)
			layers, err := img.Layers()
			must(t, err)
			for range 2 {
				id, err := m.Pull(t.Context(), spec(ref), nil, nil)
				must(t, err)
				_, err = n.db.GarbageCollect(n.ctx)
				must(t, err)
				for _, layer := range layers {
					dgst, err := layer.Digest()
					must(t, err)
					if n.has(dgst.String()) == discard {
						t.Errorf("layer in the content store: %v", !discard)
					}
				}
				resolved, err := m.Resolve(t.Context(), id)
				must(t, err)
				must(t, m.Unpack(t.Context(), resolved, defaultSnapshotter)) // already unpacked
				must(t, m.Remove(t.Context(), spec(id)))
			}
			n.checkEmpty(t)
		})
	}
}
