// SPDX-License-Identifier: Apache-2.0

package image

import (
	"testing"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestPrepare checks that other Options apply to later calls, once they are applied.
func TestPrepare(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{Handlers: []string{"lite"}})
	ref := reg.ref("app:v1")
	reg.push(t, ref, newImage(t, 1, nil))
	next := m.live.Load().Options
	next.Handlers = []string{"kata"}
	apply, err := m.Prepare(next)
	must(t, err)
	if _, err := m.Pull(t.Context(), handlerSpec(ref, "kata"), nil, nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("pull for a handler of Options that are not applied: %v", err)
	}
	must(t, apply(t.Context()))
	if _, err := m.Pull(t.Context(), handlerSpec(ref, "kata"), nil, nil); err != nil {
		t.Errorf("pull for a new handler: %v", err)
	}
	if _, err := m.Pull(t.Context(), handlerSpec(ref, "lite"), nil, nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("pull for a removed handler: %v", err)
	}
}

// TestPrepareRejects checks that invalid Options change nothing.
func TestPrepareRejects(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	before := m.live.Load()
	for name, change := range map[string]func(*Options){
		"snapshotter": func(o *Options) { o.HandlerSnapshotters = map[string]string{"kata": "missing"} },
		"credentials": func(o *Options) {
			o.Credentials = map[string]*runtimeapi.AuthConfig{"reg.example": {Auth: "not base64"}}
		},
	} {
		next := before.Options
		change(&next)
		if _, err := m.Prepare(next); err == nil {
			t.Errorf("invalid %s: no error", name)
		}
	}
	if m.live.Load() != before {
		t.Error("the Options were replaced")
	}
}

// TestPullsOfOneGeneration checks that a pull joins one that began before a reload only if the
// access to registries is the same: the mirror of the other one may hang.
func TestPullsOfOneGeneration(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	key := func() string { return (&pull{settings: m.live.Load(), name: "app"}).key() }
	next := m.live.Load().Options
	before := key()
	for _, tt := range []struct {
		dirs  []string
		joins bool
	}{{next.HostsDirs, true}, {[]string{"/other"}, false}} {
		next.HostsDirs = tt.dirs
		apply, err := m.Prepare(next)
		must(t, err)
		must(t, apply(t.Context()))
		if joins := key() == before; joins != tt.joins {
			t.Errorf("directories %q: joins %t", tt.dirs, joins)
		}
	}
}

// TestPinByReload checks that the images of a node follow a change of the pinned images, and that a
// pin that was set by hand stays.
func TestPinByReload(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	old, both, byHand := reg.ref("old:v1"), reg.ref("both:v1"), reg.ref("hand:v1")
	m := n.start(t, Options{Pinned: []string{old, both}})
	for _, ref := range []string{old, both, byHand} {
		reg.push(t, ref, newImage(t, 1, nil))
		_, err := m.Pull(t.Context(), spec(ref), nil, nil)
		must(t, err)
	}
	record, err := n.images.Get(n.ctx, byHand)
	must(t, err)
	record.Labels[labelPinned] = valuePinned
	_, err = n.images.Update(n.ctx, record, "labels")
	must(t, err)
	must(t, m.index.refresh(n.ctx, byHand))

	next := m.live.Load().Options
	for _, tt := range []struct {
		pins []string
		want map[string]bool
	}{
		{[]string{both}, map[string]bool{old: false, both: true, byHand: true}},
		{[]string{old, both}, map[string]bool{old: true, both: true, byHand: true}},
		{nil, map[string]bool{old: false, both: false, byHand: true}},
	} {
		next.Pinned = tt.pins
		apply, err := m.Prepare(next)
		must(t, err)
		must(t, apply(t.Context()))
		for ref, want := range tt.want {
			status, err := m.Status(t.Context(), spec(ref), false)
			must(t, err)
			if status.Image.Pinned != want {
				t.Errorf("pinned_images %q: %s pinned: %t", tt.pins, ref, status.Image.Pinned)
			}
		}
	}
}
