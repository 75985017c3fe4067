// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestStatusByAllKindsOfReferences(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	id, target := n.importImage(t, "app", "docker.io/library/app:latest", "quay.io/team/app:v1")
	byDigest := "docker.io/library/app@" + target.Digest.String()
	n.tag(t, target, byDigest)
	wait(t, "the image", func() bool { img := m.index.view.Load().byID[id]; return img != nil && len(img.Names) == 4 })
	want := &runtimeapi.Image{
		Id:          id,
		RepoTags:    []string{"docker.io/library/app:latest", "quay.io/team/app:v1"},
		RepoDigests: []string{byDigest},
		Spec:        &runtimeapi.ImageSpec{Image: id, Annotations: map[string]string{"seed": "app"}},
	}
	if img, ok := m.ByID(id); !ok || !slices.Equal(img.Tags, want.RepoTags) || !slices.Equal(img.Digests, want.RepoDigests) {
		t.Errorf("ByID: %+v, %v", img, ok)
	}
	if img, ok := m.ByID("sha256:gone"); ok {
		t.Errorf("ByID of an unknown id: %+v", img)
	}
	hex := strings.TrimPrefix(id, "sha256:")
	for _, ref := range []string{
		"app", "app:latest", "library/app", "docker.io/app", "docker.io/library/app:latest", "quay.io/team/app:v1",
		byDigest, "app@" + target.Digest.String(), "app:other@" + target.Digest.String(),
		id, hex, hex[:12], "sha256:" + hex[:12],
	} {
		resp, err := m.Status(t.Context(), spec(ref), false)
		must(t, err)
		if d := cmp.Diff(want, resp.Image, protocmp.Transform(), protocmp.IgnoreFields(&runtimeapi.Image{}, "size")); d != "" {
			t.Errorf("status of %s (-want +got):\n%s", ref, d)
		}
		list, err := m.List(t.Context(), &runtimeapi.ImageFilter{Image: spec(ref)})
		must(t, err)
		if len(list) != 1 || list[0].Id != id {
			t.Errorf("list of %s is %v", ref, list)
		}
		img, err := m.Resolve(t.Context(), ref)
		must(t, err)
		if img.ID != id || img.Handle.Target().Digest != target.Digest || img.Handle.Name() != "docker.io/library/app:latest" {
			t.Errorf("%s resolves to %+v", ref, img)
		}
	}
}

func TestMissingImages(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	n.importImage(t, "app", "docker.io/library/app:latest")
	for _, ref := range []string{"app:other", "other", "quay.io/app", "beef", "sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 64)} {
		resp, err := m.Status(t.Context(), spec(ref), true)
		if err != nil || resp.Image != nil || resp.Info != nil {
			t.Errorf("status of %s: %v, %v", ref, resp, err)
		}
		list, err := m.List(t.Context(), &runtimeapi.ImageFilter{Image: spec(ref)})
		if err != nil || len(list) > 0 {
			t.Errorf("list of %s: %v, %v", ref, list, err)
		}
		must(t, m.Remove(t.Context(), spec(ref)))
		_, err = m.Resolve(t.Context(), ref)
		checkClass(t, err, errdefs.ErrNotFound)
	}
	for _, ref := range []string{"", "good.io/../evil/i", "good.io/%2e%2e/e", "UPPER", "a b", "x\x00"} {
		_, err := m.Status(t.Context(), spec(ref), false)
		checkClass(t, err, errdefs.ErrInvalidArgument)
		checkClass(t, m.Remove(t.Context(), spec(ref)), errdefs.ErrInvalidArgument)
		_, err = m.Resolve(t.Context(), ref)
		checkClass(t, err, errdefs.ErrInvalidArgument)
	}
}

func TestAmbiguousID(t *testing.T) {
	v := newView(map[string]record{
		"one": {content: &Image{ID: "sha256:aabb"}}, "two": {content: &Image{ID: "sha256:aacc"}},
	})
	_, err := v.find("aa")
	checkClass(t, err, errdefs.ErrInvalidArgument)
	img, err := v.find("aab")
	must(t, err)
	if img.ID != "sha256:aabb" {
		t.Errorf("found %s", img.ID)
	}
}

func TestStatusVerbose(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.add(t, "app:v1", newImage(t, 2, func(f *v1.ConfigFile) { f.Config.Env = []string{"A=b"} }))
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	resp, err := m.Status(t.Context(), spec(ref), true)
	must(t, err)
	var info struct {
		ChainID   string        `json:"chainID"`
		ImageSpec ocispec.Image `json:"imageSpec"`
	}
	must(t, json.Unmarshal([]byte(resp.Info["info"]), &info))
	if _, err := n.db.Snapshotter(defaultSnapshotter).Stat(n.ctx, info.ChainID); err != nil {
		t.Errorf("chainID %q is not the key of a snapshot: %v", info.ChainID, err)
	}
	if !slices.Equal(info.ImageSpec.Config.Env, []string{"A=b"}) {
		t.Errorf("imageSpec is %+v", info.ImageSpec)
	}
}

func TestImageIsSeenBeforeItsEvent(t *testing.T) {
	n := newNode(t)
	n.deps.Events = &noEvents{}
	m := n.start(t, Options{})
	id, _ := n.importImage(t, "app", "docker.io/library/app:latest")
	resp, err := m.Status(t.Context(), spec("app"), false)
	must(t, err)
	if resp.Image.GetId() != id {
		t.Errorf("status is %v", resp.Image)
	}
}

func TestRemoveTakesAllNames(t *testing.T) {
	for _, by := range []string{"tag", "id"} {
		t.Run(by, func(t *testing.T) {
			n, reg, other := newNode(t), newRegistry(t), newRegistry(t)
			m := n.start(t, Options{})
			img := newImage(t, 1, nil)
			refs := []string{reg.ref("app:1"), reg.ref("app:2"), other.ref("app:1")}
			for _, ref := range refs {
				if strings.HasPrefix(ref, reg.ref("")) {
					reg.push(t, ref, img)
				} else {
					other.push(t, ref, img)
				}
				_, err := m.Pull(t.Context(), spec(ref), nil, nil)
				must(t, err)
			}
			ref := refs[0]
			if by == "id" {
				ref = idOf(t, img)
			}
			var removals sync.WaitGroup
			for range 5 {
				removals.Go(func() {
					if err := m.Remove(t.Context(), spec(ref)); err != nil {
						t.Error(err)
					}
				})
			}
			removals.Wait()
			for _, ref := range append(refs, idOf(t, img)) {
				resp, err := m.Status(t.Context(), spec(ref), false)
				must(t, err)
				if resp.Image != nil {
					t.Errorf("%s still exists", ref)
				}
			}
			n.checkEmpty(t)
		})
	}
}

func TestRemovalOrderEndsWithTheID(t *testing.T) {
	img := &Image{ID: "sha256:aa", Names: []string{"a", "sha256:aa", "z"}}
	if d := cmp.Diff([]string{"a", "z", "sha256:aa"}, removalOrder(img)); d != "" {
		t.Error(d)
	}
}

func TestUserOfTheImageConfig(t *testing.T) {
	uid := func(n int64) *int64 { return &n }
	for user, want := range map[string]struct {
		uid  *int64
		name string
	}{
		"":                      {},
		":5":                    {},
		"0":                     {uid: uid(0)},
		"1000":                  {uid: uid(1000)},
		"1000:100":              {uid: uid(1000)},
		"2147483647":            {uid: uid(2147483647)},
		"01000":                 {uid: uid(1000)},
		"02147483648":           {name: "02147483648"},
		"+01000":                {name: "+01000"},
		"000":                   {name: "000"},
		"www-data":              {name: "www-data"},
		"www-data:adm":          {name: "www-data"},
		"2147483648":            {name: "2147483648"},
		"4294967296":            {name: "4294967296"},
		"999999999999999999999": {name: "999999999999999999999"},
		"-1":                    {name: "-1"},
		"+0":                    {name: "+0"},
		"00":                    {name: "00"},
		"0x0":                   {name: "0x0"},
		"1000 ":                 {name: "1000 "},
	} {
		img := &Image{Spec: ocispec.Image{Config: ocispec.ImageConfig{User: user}}}
		got, name := img.User()
		if d := cmp.Diff(want.uid, got); d != "" || name != want.name {
			t.Errorf("user %q: uid %v, name %q, want %v, %q", user, got, name, want.uid, want.name)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, ref := range []string{
		"busybox", "busybox:1", "a.b/c", "a:5000/b@sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("a", 64),
		"good.io/../evil", "a//b", "cafe", "", "localhost/x:y@z", "[::1]:5000/x",
	} {
		f.Add(ref)
	}
	empty := newView(nil)
	f.Fuzz(func(t *testing.T, ref string) {
		if _, err := empty.find(ref); !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
			t.Errorf("look-up of %q: %v", ref, err)
		}
		named, err := parsePullable(ref)
		if err != nil {
			checkClass(t, err, errdefs.ErrInvalidArgument)
			return
		}
		name := named.String()
		again, err := parsePullable(name)
		if err != nil || again.String() != name {
			t.Errorf("%q is not stable: %q, %v", name, again, err)
		}
		if strings.Contains(name, "..") && strings.Contains(name, "/../") || strings.ContainsAny(name, "% \t\n") {
			t.Errorf("%q is accepted as %q", ref, name)
		}
		host := reference.Domain(named)
		if first, _, _ := strings.Cut(ref, "/"); strings.ContainsAny(first, ".:") && strings.Contains(ref, "/") && host != first && first != "index.docker.io" {
			t.Errorf("%q is pulled from %q", ref, host)
		}
		for _, record := range recordNames(named, "sha256:id", "sha256:dd") {
			if record == "" {
				t.Errorf("empty record of %q", ref)
			}
		}
	})
}
