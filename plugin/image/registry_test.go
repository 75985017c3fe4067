// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// testRegistry is a real registry whose responses a test can replace.
type testRegistry struct {
	*httptest.Server
	next     http.Handler
	fault    atomic.Pointer[faultFunc]
	requests atomic.Int64
}

// faultFunc responds to a request itself or passes it to next.
type faultFunc func(w http.ResponseWriter, r *http.Request, next http.Handler)

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	reg := &testRegistry{next: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	reg.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reg.requests.Add(1)
		if fault := reg.fault.Load(); fault != nil {
			(*fault)(w, r, reg.next)
			return
		}
		reg.next.ServeHTTP(w, r)
	}))
	t.Cleanup(reg.Close)
	return reg
}

// breakWith makes the registry respond with a fault.
func (r *testRegistry) breakWith(fault faultFunc) { r.fault.Store(&fault) }

func (r *testRegistry) repair() { r.fault.Store(nil) }

// ref returns a reference to an image of the registry.
func (r *testRegistry) ref(rest string) string {
	u, _ := url.Parse(r.URL)
	return u.Host + "/" + rest
}

// add pushes an image and returns its reference.
func (r *testRegistry) add(t *testing.T, name string, img v1.Image) (ref string) {
	t.Helper()
	ref = r.ref(name)
	r.push(t, ref, img)
	return ref
}

// push pushes an image to the registry.
func (r *testRegistry) push(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	must(t, err)
	must(t, remote.Write(parsed, img, remote.WithContext(t.Context())))
}

// newImage returns an image with random layers for the platform of this machine.
func newImage(t *testing.T, layers int64, change func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	img, err := random.Image(1024, layers)
	must(t, err)
	file, err := img.ConfigFile()
	must(t, err)
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", platforms.DefaultSpec().Architecture
	if change != nil {
		change(file)
	}
	img, err = mutate.ConfigFile(img, file)
	must(t, err)
	return img
}

// idOf returns the id of an image on a node.
func idOf(t *testing.T, img v1.Image) string {
	t.Helper()
	hash, err := img.ConfigName()
	must(t, err)
	return hash.String()
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	hash, err := img.Digest()
	must(t, err)
	return hash.String()
}

// writeHosts writes the hosts.toml of a registry.
func writeHosts(t *testing.T, root, host, toml string) {
	t.Helper()
	dir := filepath.Join(root, host)
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(toml), 0o600))
}

func thisArchitecture() string { return platforms.DefaultSpec().Architecture }

func emptyImage() v1.Image { return empty.Image }

func emptyIndex() v1.ImageIndex { return mutate.IndexMediaType(empty.Index, types.OCIImageIndex) }

func addend(img v1.Image, arch string) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
}

// pushIndex pushes an index with its images to the registry.
func (r *testRegistry) pushIndex(t *testing.T, ref string, index v1.ImageIndex) {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	must(t, err)
	must(t, remote.WriteIndex(parsed, index, remote.WithContext(t.Context())))
}

// lyingImage is an image whose manifest declares another size for its config.
type lyingImage struct {
	v1.Image
	manifest []byte
}

func declareConfigSize(t *testing.T, img v1.Image, size int64) v1.Image {
	t.Helper()
	manifest, err := img.Manifest()
	must(t, err)
	manifest = manifest.DeepCopy()
	manifest.Config.Size = size
	raw, err := json.Marshal(manifest)
	must(t, err)
	return lyingImage{Image: img, manifest: raw}
}

func (i lyingImage) RawManifest() ([]byte, error) { return i.manifest, nil }

func (i lyingImage) Digest() (v1.Hash, error) {
	hash, _, err := v1.SHA256(bytes.NewReader(i.manifest))
	return hash, err
}
