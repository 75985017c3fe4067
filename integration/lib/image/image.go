// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"maps"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Names of images that the suites use directly.
const (
	// Busybox has a shell and the commands that critest calls. Its default command is sh.
	Busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2"
	// Httpd serves a page on port 80 and writes one log line per request.
	Httpd = "docker.io/library/httpd:latest"
	// Nginx is Debian's nginx on port 80.
	Nginx = "registry.k8s.io/e2e-test-images/nginx:1.14-2"
	// Volume has no program. It has files, links of all kinds and two layers, to be mounted in a
	// container.
	Volume = "docker.io/library/volume:latest"
	// Pause is the image that stock containerd is configured to run pods in.
	Pause = "registry.k8s.io/pause:3.10"
	// Digested is the repository of critest's image that is pinned by digest.
	Digested = "gcr.io/k8s-staging-cri-tools/test-image-digest"
)

// Catalog returns every image by its reference. debian is the directory with the unpacked packages;
// programs is the directory with the binaries of cmd/nnp and pause/, called nnp and pause.
func Catalog(debian, programs string) (map[string]v1.Image, error) {
	b := builder{packages: debian, programs: programs}
	images := map[string]v1.Image{}
	for _, group := range []func() map[string]v1.Image{b.basic, b.servers, b.users, b.marked, b.volumes} {
		maps.Copy(images, group())
	}
	return images, b.err
}

// builder keeps the first error, so that the recipes below need no error handling.
type builder struct {
	packages, programs string
	busybox            v1.Image
	err                error
}

func (b *builder) basic() map[string]v1.Image {
	b.busybox = b.image(empty.Image, v1.Config{
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Cmd: []string{"sh"},
	}, b.busyboxFiles())
	pause := func(mark string) v1.Image {
		files := b.files().copy("/pause", filepath.Join(b.programs, "pause"), 0o755).text("/etc/pause", mark, 0o644)
		return b.image(empty.Image, v1.Config{Entrypoint: []string{"/pause"}}, files)
	}
	old := pause("3.9")
	nnp := b.files().copy("/nnp", filepath.Join(b.programs, "nnp"), 0o755|setuid)
	return map[string]v1.Image{
		Busybox:                               b.busybox,
		"docker.io/library/busybox:latest":    b.busybox,
		Pause:                                 pause("3.10"),
		"registry.k8s.io/pause:3.9":           old,
		"k8s.gcr.io/pause:3.9":                old,
		e2e("nonewprivs:1.3"):                 b.image(b.busybox, v1.Config{Cmd: []string{"/nnp"}}, nnp),
		"docker.io/library/exit-seven:latest": b.image(b.busybox, v1.Config{Cmd: []string{"sh", "-c", "exit 7"}}, b.files()),
	}
}

func (b *builder) servers() map[string]v1.Image {
	nginx := func(port int) v1.Image {
		return b.image(b.busybox, v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}}, b.nginxFiles(port))
	}
	httpd := b.image(b.busybox,
		v1.Config{Cmd: []string{"sh", "-c", "echo httpd is starting; exec httpd -f -vv -p 80 -h /www"}},
		b.files().text("/www/index.html", "It works!\n", 0o644))
	return map[string]v1.Image{
		Nginx:                             nginx(80),
		cri("hostnet-nginx-amd64:latest"): nginx(12003),
		e2e("httpd:2.4.39-4"):             httpd,
		Httpd:                             httpd,
	}
}

func (b *builder) users() map[string]v1.Image {
	images := map[string]v1.Image{}
	for name, user := range map[string]string{
		"user-uid":            "1002",
		"user-username":       "www-data",
		"user-uid-group":      "1003:1004",
		"user-username-group": "www-data:1004",
	} {
		images[cri("test-image-"+name+":latest")] = b.image(b.busybox, v1.Config{User: user}, b.files())
	}
	groups := b.files().
		text("/etc/passwd", passwd+"default-user:x:1000:1000::/home:/bin/sh\n", 0o644).
		text("/etc/group", group+"default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n", 0o644)
	images[cri("test-image-predefined-group:latest")] = b.image(b.busybox, v1.Config{User: "1000"}, groups)
	return images
}

// marked returns images that differ in one file, and tags of one image.
func (b *builder) marked() map[string]v1.Image {
	images := map[string]v1.Image{}
	add := func(mark string, names ...string) {
		img := b.image(b.busybox, v1.Config{}, b.files().text("/"+mark, mark, 0o644))
		for _, name := range names {
			images[cri(name)] = img
		}
	}
	add("test-image-latest", "test-image-latest:latest")
	add("test-image-1", "test-image-1:latest")
	add("test-image-2", "test-image-2:latest")
	add("test-image-3", "test-image-3:latest")
	add("same-image", "test-image-tags:1", "test-image-tags:2", "test-image-tags:3")
	add("test-image-tag-test", "test-image-tag:test")
	add("test-image-tag-all", "test-image-tag:all")
	add("test-image-digest", "test-image-digest:latest")
	return images
}

func (b *builder) volumes() map[string]v1.Image {
	files := b.files().
		dir("/data", 0o755).text("/data/file", "first layer\n", 0o644).text("/data/gone", "", 0o644).
		text("/private", "for root\n", 0o600).
		symlink("/link", "data").symlink("/up", "../../../../etc").symlink("/absolute", "/etc")
	layer := b.image(empty.Image, v1.Config{}, files)
	return map[string]v1.Image{
		Volume: b.image(layer, v1.Config{}, b.files().text("/data/file", "second layer\n", 0o644).text("/data/.wh.gone", "", 0o644)),
	}
}

func e2e(name string) string { return "registry.k8s.io/e2e-test-images/" + name }
func cri(name string) string { return "gcr.io/k8s-staging-cri-tools/" + name }

// image returns base with one more layer of files. The fields that are set in config replace those
// of base.
func (b *builder) image(base v1.Image, config v1.Config, files *layer) v1.Image {
	if b.err != nil {
		return empty.Image
	}
	img, err := withLayer(base, config, files)
	if err != nil {
		b.err = fmt.Errorf("image: %w", err)
		return empty.Image
	}
	return img
}

func withLayer(base v1.Image, config v1.Config, files *layer) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	blob, err := files.build()
	if err != nil {
		return nil, err
	}
	if blob != nil {
		if img, err = mutate.AppendLayers(img, blob); err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created = "amd64", "linux", v1.Time{Time: time.Unix(0, 0).UTC()}
	if config.Env != nil {
		file.Config.Env = config.Env
	}
	if config.Entrypoint != nil {
		file.Config.Entrypoint = config.Entrypoint
	}
	if config.Cmd != nil {
		file.Config.Cmd = config.Cmd
	}
	if config.User != "" {
		file.Config.User = config.User
	}
	return mutate.ConfigFile(img, file)
}
