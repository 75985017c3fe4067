// SPDX-License-Identifier: Apache-2.0

package dropin

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Images by their origin on the node.
const (
	tagged   = image.Busybox
	retagged = "docker.io/library/a-retagged:v9" // a second name of tagged, alphabetically first
	imported = "docker.io/library/imported:v1"
	moving   = "docker.io/library/moving:latest"
	gone     = "docker.io/library/gone:latest" // removed while containers use it
	digested = "docker.io/library/digested"
)

// variant returns busybox with another config, which makes it another image.
func (b bench) variant(t *testing.T, author string) v1.Image {
	t.Helper()
	base := b.Registry.Image(image.Busybox)
	config, err := base.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Author = author
	config.Config.User = map[string]string{imported: "1000:1000", gone: "www-data"}[author]
	img, err := mutate.ConfigFile(base, config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (b bench) push(t *testing.T, ref, author string) {
	t.Helper()
	if err := b.Registry.Push(t.Context(), ref, b.variant(t, author)); err != nil {
		t.Fatal(err)
	}
}

func (b bench) pull(t *testing.T, ref string) {
	t.Helper()
	if err := b.Pull(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
}

// digestRef is the image that is pulled only by its digest.
func (b bench) digestRef(t *testing.T) string {
	t.Helper()
	return digested + "@" + digestOf(t, b.variant(t, digested))
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	hash, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// idOf returns the ID of a variant.
func (b bench) idOf(t *testing.T, author string) string {
	t.Helper()
	hash, err := b.variant(t, author).ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// pullImages puts all images on the node.
func (b bench) pullImages(t *testing.T) {
	t.Helper()
	b.push(t, gone, gone)
	b.push(t, digested+":pushed", digested)
	b.push(t, moving, "first")
	for _, ref := range []string{image.Pause, tagged, gone, b.digestRef(t), moving} {
		b.pull(t, ref)
	}
	b.push(t, moving, "second")
	b.pull(t, moving)
	b.ctr(t, "images", "tag", "--force", tagged, retagged)
	archive := b.Path("imported.tar")
	reference, err := name.NewTag(imported)
	if err == nil {
		err = tarball.WriteToFile(archive, reference, b.variant(t, imported))
	}
	if err != nil {
		t.Fatal(err)
	}
	b.ctr(t, "images", "import", archive)
	b.awaitTag(t, retagged)
	b.awaitTag(t, imported)
}

func (b bench) ctr(t *testing.T, args ...string) {
	t.Helper()
	if _, err := harness.Output(b.Ctr(t.Context(), append([]string{"-n", harness.Namespace}, args...)...)); err != nil {
		t.Fatal(err)
	}
}

// awaitTag waits until the daemon has noticed a tag set by another client.
func (b bench) awaitTag(t *testing.T, tag string) {
	t.Helper()
	err := harness.Await(t.Context(), func() error {
		found, err := b.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: tag}})
		if err == nil && found.Image == nil {
			err = errors.New(tag + " is missing")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b bench) removeImages(t *testing.T) {
	t.Helper()
	for _, img := range answer(t, b.ListImages, &runtimeapi.ListImagesRequest{}).Images {
		answer(t, b.RemoveImage, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: img.Id}})
	}
}

// references returns names of images of each kind.
func (b bench) references(t *testing.T) map[string]string {
	t.Helper()
	id := b.idOf(t, digested)
	return map[string]string{
		"tag":             tagged,
		"short name":      "imported:v1",
		"digest":          b.digestRef(t),
		"id":              id,
		"short ID":        strings.TrimPrefix(id, "sha256:")[:12],
		"retagged":        retagged,
		"imported":        imported,
		"lost its tag":    b.idOf(t, "first"),
		"has the tag now": moving,
		"gone":            gone,
		"pinned":          image.Pause,
		"missing":         "docker.io/library/absent:1",
	}
}
