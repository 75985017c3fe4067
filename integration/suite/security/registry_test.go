// SPDX-License-Identifier: Apache-2.0

package security

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
	"github.com/containerd-lite/containerd-lite/integration/lib/evilreg"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Attacks through the answers of a registry.

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	foreignLayer   = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// secret is a password that must not appear anywhere.
const secret = "pass-7f3d90"

// pullAs pulls with a password.
func (a *attack) pullAs(ref string) error {
	_, err := a.PullImage(a.ctx, &runtimeapi.PullImageRequest{
		Image: &runtimeapi.ImageSpec{Image: ref}, Auth: &runtimeapi.AuthConfig{Username: "user", Password: secret},
	})
	return err
}

// c01 has a registry that asks for a password redirect the client to another host, and to another
// port of its own host.
func c01(a *attack) {
	for _, away := range []string{strings.Replace(a.thief.URL(), "127.0.0.1", "localhost", 1), a.thief.URL()} {
		a.thief.Script("/c01/basic", evilreg.Challenge(`Basic realm="thief"`))
		a.thief.Script("/c01/bearer", evilreg.Challenge(fmt.Sprintf(`Bearer realm="%s/c01/token",service="thief"`, away)))
		a.thief.Script("/c01/plain", evilreg.JSON("application/octet-stream", []byte("x")))
		for _, place := range []string{"/c01/basic", "/c01/bearer", "/c01/plain"} {
			a.sentAway(away + place)
		}
	}
	if n := a.noCredentials("the other host", a.thief); n == 0 {
		a.Errorf("the other host received no request: the test proves nothing")
	}
}

// sentAway pulls images whose layer is said to be at place, and redirects the client there.
func (a *attack) sentAway(place string) {
	a.Helper()
	img := a.with(evilimg.File("file", place, 0o644))
	foreign := &img.Layers[len(img.Layers)-1]
	foreign.MediaType, foreign.URLs = foreignLayer, []string{place}
	a.guarded(img, func(_ string, desc evilimg.Desc) http.HandlerFunc {
		if desc.MediaType == foreignLayer {
			return http.NotFound // the blob exists only at the other place
		}
		return nil
	})
	a.guarded(a.with(evilimg.File("file", "redirect"+place, 0o644)), func(_ string, desc evilimg.Desc) http.HandlerFunc {
		if desc.MediaType == ocispec.MediaTypeImageLayerGzip {
			return evilreg.Redirect(place)
		}
		return nil
	})
}

// guarded serves an image behind a password, with scripts for some of its parts, and pulls it.
func (a *attack) guarded(img evilimg.Image, script func(repository string, desc evilimg.Desc) http.HandlerFunc) {
	a.Helper()
	const ask = `Basic realm="evil"`
	repository := a.repository()
	manifest, content := img.Build(func(desc evilimg.Desc, content []byte) {
		answer := script(repository, desc)
		if answer == nil {
			answer = evilreg.JSON(desc.MediaType, content)
		}
		answer = evilreg.Challenged(ask, answer)
		a.evil.Script(evilreg.BlobPath(repository, desc.Digest), answer)
		a.evil.Script(evilreg.ManifestPath(repository, desc.Digest.String()), answer)
	})
	a.evil.Script(evilreg.ManifestPath(repository, "latest"), evilreg.Challenged(ask, evilreg.JSON(manifest.MediaType, content)))
	a.Logf("%s: %v", repository, a.pullAs(host+"/"+repository+":latest"))
	admitted := 0
	for _, q := range a.evil.Requests("/v2/" + repository + "/") {
		admitted += len(q.Credentials())
	}
	if admitted == 0 {
		a.Errorf("%s: the registry received no credentials: the test proves nothing", repository)
	}
}

// o20 has an HTTPS registry name token servers without TLS, and of another host.
func o20(a *attack) {
	private := evilreg.NewTLS()
	a.Cleanup(private.Close)
	if err := private.Mirror(a.Path("certs.d"), "private.test"); err != nil {
		a.Fatal(err)
	}
	before := len(a.thief.Requests("/o20/"))
	private.Script(evilreg.ManifestPath("o20", "latest"),
		evilreg.Challenge(fmt.Sprintf(`Bearer realm="%s/o20/token",service="private"`, a.thief.URL())))
	a.refused("token server without TLS", a.pullAs("private.test/o20:latest"))
	for _, q := range a.thief.Requests("/o20/")[before:] {
		if found := q.Credentials(); len(found) > 0 {
			a.Errorf("the password went in clear text to %s: %v", q.Path, found)
		}
	}
}

// c05 serves a document that is both a manifest and an index, with either media type.
func c05(a *attack) {
	img := a.with()
	repository := a.repository()
	manifest, content := img.Build(func(desc evilimg.Desc, content []byte) { a.evil.Put(repository, desc, content) })
	inner := strings.TrimSuffix(string(content), "}")
	both := []byte(inner + `,"manifests":` + string(evilimg.Document([]evilimg.Desc{manifest})) + "}")
	// Without a media type in the document, the header of the registry decides.
	unmarked := bytes.Replace(both, []byte(`"mediaType":"`+ocispec.MediaTypeImageManifest+`",`), nil, 1)
	for _, document := range [][]byte{both, unmarked} {
		for _, mediaType := range []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList} {
			tag := fmt.Sprint("t", len(mediaType), len(document))
			a.evil.Tag(repository, tag, evilimg.Descriptor(mediaType, document), document)
			a.refused("both, as "+mediaType, a.Pull(a.ctx, host+"/"+repository+":"+tag))
		}
	}
}

// c14 serves documents that are larger than declared, and a layout with a large index.
func c14(a *attack) {
	a.growth(96, func() {
		for _, mediaType := range []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList} {
			repository := a.repository()
			fake := digest.FromString(mediaType)
			claims := evilreg.Claims(mediaType, fake.String(), "1000")
			a.evil.Script(evilreg.ManifestPath(repository, "latest"), claims)
			a.evil.Script(evilreg.ManifestPath(repository, fake.String()), claims)
			a.refused("endless "+mediaType, a.Pull(a.ctx, host+"/"+repository+":latest"))
		}
	})
	a.growth(96, func() {
		repository := a.repository()
		bomb := evilimg.Gzip(bytes.Repeat([]byte(" "), 256<<20))
		a.evil.Script(evilreg.ManifestPath(repository, "latest"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		})
		a.refused("manifest that is compressed", a.Pull(a.ctx, host+"/"+repository+":latest"))
	})
}

// c25 serves unbounded graphs of descriptors.
func c25(a *attack) {
	descriptor := func(mediaType string, i int) evilimg.Desc {
		return evilimg.Desc{
			MediaType: mediaType, Digest: digest.FromString(fmt.Sprint(i)), Size: 100,
			Platform: &ocispec.Platform{Architecture: "amd64", OS: "linux"},
		}
	}
	index := func(children ...evilimg.Desc) []byte {
		return evilimg.Document(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
		})
	}
	a.growth(96, func() {
		var wide []evilimg.Desc
		for i := range 20000 {
			wide = append(wide, descriptor(ocispec.MediaTypeImageManifest, i))
		}
		repository := a.repository()
		content := index(wide...)
		a.evil.Tag(repository, "latest", evilimg.Descriptor(ocispec.MediaTypeImageIndex, content), content)
		a.refused("index of 20 000 manifests", a.Pull(a.ctx, host+"/"+repository+":latest"))
	})
	a.growth(96, func() {
		repository := a.repository()
		next := descriptor(ocispec.MediaTypeImageManifest, 1)
		var content []byte
		for range 20 {
			children := make([]evilimg.Desc, 50)
			for i := range children {
				children[i] = next
				children[i].Platform = &ocispec.Platform{Architecture: "amd64", OS: "linux"}
			}
			content = index(children...)
			next = evilimg.Descriptor(ocispec.MediaTypeImageIndex, content)
			a.evil.Put(repository, next, content)
		}
		a.evil.Tag(repository, "latest", next, content)
		a.refused("indexes of 50 in 20 levels", a.Pull(a.ctx, host+"/"+repository+":latest"))
	})
}

// c26 has false sizes, invalid digests, and references that lead out of their registry.
func c26(a *attack) {
	for _, size := range []int64{-1, 0, 121} {
		img := a.with(evilimg.File("file", fmt.Sprint(size), 0o644))
		last := &img.Layers[len(img.Layers)-1]
		last.Edit = func(desc *ocispec.Descriptor) { desc.Size = size }
		ref := a.serve(img)
		repository := strings.TrimSuffix(strings.TrimPrefix(ref, host+"/"), ":latest")
		a.evil.Script(evilreg.BlobPath(repository, digest.FromBytes(last.Blob)), evilreg.Endless)
		before := a.contentBytes()
		a.refused(fmt.Sprintf("size %d", size), a.Pull(a.ctx, ref))
		if grown := a.contentBytes() - before; grown > 2<<20 {
			a.Errorf("size %d: the content store grew by %d bytes", size, grown)
		}
	}
	for _, bad := range []string{"sha256:ab", "x", "", "sha256:" + strings.Repeat("g", 64)} {
		img := a.with(evilimg.File("child", bad, 0o644))
		img.Edit = func(m *ocispec.Manifest) { m.Layers[len(m.Layers)-1].Digest = digest.Digest(bad) }
		a.refused(fmt.Sprintf("layer %q", bad), a.Pull(a.ctx, a.serve(img)))
		subject := a.with(evilimg.File("subject", bad, 0o644))
		subject.Edit = func(m *ocispec.Manifest) {
			m.Subject = &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(bad), Size: 10}
		}
		a.Logf("subject %q: %v", bad, a.Pull(a.ctx, a.serve(subject)))
	}
	before := len(a.thief.Requests("/"))
	for _, ref := range []string{
		"evil.test/../thief.test/i", "evil.test/%2e%2e/thief.test/i", "evil.test/a/../../thief.test/i:latest", "../thief.test/i",
		"evil.test//thief.test/i", "evil.test/i@thief.test/i", "evil.test\\..\\thief.test/i", "evil.test/i:latest/../../thief.test",
		"user:pass@thief.test/i", "https://thief.test/i", "evil.test/i\nthief.test/i",
	} {
		a.wantCode("pull "+ref, a.Pull(a.ctx, ref), codes.InvalidArgument)
		spec := &runtimeapi.ImageSpec{Image: ref}
		answer, err := a.ImageStatus(a.ctx, &runtimeapi.ImageStatusRequest{Image: spec})
		if err == nil && answer.Image != nil {
			a.Errorf("status of %s: %v", ref, answer.Image)
		}
		// Not found is no error of RemoveImage: both answers are accepted.
		_, err = a.RemoveImage(a.ctx, &runtimeapi.RemoveImageRequest{Image: spec})
		a.wantCode("remove "+ref, err, codes.OK, codes.InvalidArgument)
	}
	if n := len(a.thief.Requests("/")) - before; n > 0 {
		a.Errorf("the other registry received %d requests", n)
	}
}

// o17 has digests that are paths, or that have an unknown length or algorithm.
func o17(a *attack) {
	for _, bad := range []string{
		"sha256:../../x", "sha256:" + strings.Repeat("a", 63), "sha256:" + strings.Repeat("A", 64), "sha1:" + strings.Repeat("a", 40), "",
		"sha256:/etc/passwd", strings.Repeat("sha256:", 1<<17), "../../etc:" + strings.Repeat("a", 64),
	} {
		config := a.with(evilimg.File("config", bad[:min(len(bad), 90)], 0o644))
		config.Edit = func(m *ocispec.Manifest) { m.Config.Digest = digest.Digest(bad) }
		a.refused(fmt.Sprintf("config %.80q", bad), a.Pull(a.ctx, a.serve(config)))
		err := a.Pull(a.ctx, host+"/o17@"+bad)
		a.refused(fmt.Sprintf("reference %.80q", bad), err)
	}
}

// m10 looks for a password, a token and an environment variable in all errors and logs of the
// daemon.
func m10(a *attack) {
	echo := func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="evil"`)
		http.Error(w, `{"errors":[{"code":"DENIED","message":"not with `+q.Header.Get("Authorization")+`"}]}`, http.StatusUnauthorized)
	}
	a.evil.Script(evilreg.ManifestPath("m10", "latest"), echo)
	ref := host + "/m10:latest"
	// base64 of user:pass-7f3d90
	seen := []string{secret, "dXNlcjpwYXNzLTdmM2Q5MA"}
	look := func(what, text string) {
		for _, s := range seen {
			if strings.Contains(text, s) {
				at := strings.Index(text, s)
				a.Errorf("%s contains the secret: …%s…", what, text[max(0, at-100):min(len(text), at+60)])
			}
		}
	}
	for name, auth := range map[string]*runtimeapi.AuthConfig{
		"password":       {Username: "user", Password: secret},
		"identity token": {IdentityToken: secret},
		"registry token": {RegistryToken: secret},
		"auth":           {Auth: "dXNlcjpwYXNzLTdmM2Q5MA=="},
		"broken auth":    {Auth: secret},
	} {
		_, err := a.PullImage(a.ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}, Auth: auth})
		a.refused(name, err)
		look("the error of "+name, fmt.Sprint(err))
	}
	for _, ref := range []string{"https://user:" + secret + "@evil.test/i", "user:" + secret + "@evil.test/i"} {
		a.refused("reference with a password", a.Pull(a.ctx, ref))
	}
	p := a.pod(quick)
	id := p.start(p.container(image.Busybox, "exec sleep 10000", func(c *containerConfig) {
		c.Envs = []*runtimeapi.KeyValue{{Key: "PASSWORD", Value: []byte(secret)}}
	}))
	a.exec(id, "true", secret)
	look("the log at debug level", string(a.daemonLog()))
}

// m15 moves a tag between the pull and the use.
func m15(a *attack) {
	first := a.with(evilimg.File("which", "first", 0o644))
	ref := a.serve(first)
	answer, err := a.PullImage(a.ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		a.Fatal(err)
	}
	repository := strings.TrimSuffix(strings.TrimPrefix(ref, host+"/"), ":latest")
	second := a.with(evilimg.File("which", "second", 0o644))
	manifest, content := second.Build(func(desc evilimg.Desc, content []byte) { a.evil.Put(repository, desc, content) })
	a.evil.Tag(repository, "latest", manifest, content)
	p := a.pod(quick)
	if got := p.output(p.container(answer.ImageRef, "cat /which")); got != "first\n" {
		a.Errorf("the ID of the pulled image runs %q", got)
	}
	if err := a.Pull(a.ctx, ref); err != nil {
		a.Fatal(err)
	}
	if got := p.output(p.container(answer.ImageRef, "cat /which")); got != "first\n" {
		a.Errorf("the ID of the image runs %q after its tag moved", got)
	}
}
