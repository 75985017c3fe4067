// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// mirrored are the registries whose images the bench serves. A hosts.toml for each redirects every
// pull to 127.0.0.1.
var mirrored = [...]string{"registry.k8s.io", "k8s.gcr.io", "gcr.io", "docker.io"}

// Registry serves the images of the tests on 127.0.0.1.
type Registry struct {
	server *httptest.Server // used by the daemon
	store  *httptest.Server // the same images, without faults
	images map[string]v1.Image
}

func newRegistry(ctx context.Context, repo Repo, certs string) (*Registry, error) {
	images, err := image.Catalog(repo.Tool("debian"), repo.Tool("images"))
	if err != nil {
		return nil, err
	}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &Registry{server: httptest.NewServer(faults(store)), store: httptest.NewServer(store), images: images}
	for ref, img := range images {
		if err := r.Push(ctx, ref, img); err != nil {
			r.Close()
			return nil, err
		}
	}
	for _, host := range mirrored {
		if err := r.mirror(filepath.Join(certs, host)); err != nil {
			r.Close()
			return nil, err
		}
	}
	return r, nil
}

// Push serves img under a reference of one of the mirrored registries.
func (r *Registry) Push(ctx context.Context, ref string, img v1.Image) error {
	_, repository, _ := strings.Cut(ref, "/")
	target, err := name.ParseReference(strings.TrimPrefix(r.store.URL, "http://")+"/"+repository, name.Insecure)
	if err != nil {
		return err
	}
	if err := remote.Write(target, img, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("image %s: push: %w", ref, err)
	}
	return nil
}

// Image returns an image of the catalog.
func (r *Registry) Image(ref string) v1.Image { return r.images[ref] }

// Close stops serving.
func (r *Registry) Close() {
	r.server.Close()
	r.store.Close()
}

func (r *Registry) mirror(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	hosts := fmt.Sprintf("server = %[1]q\n\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n", r.server.URL)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)
}

// registriesConf returns a registries.conf(5) that does the same as the hosts.toml files.
func (r *Registry) registriesConf() string {
	var text strings.Builder
	for _, host := range mirrored {
		fmt.Fprintf(&text, "[[registry]]\nprefix = %q\nlocation = %q\ninsecure = true\n\n", host, strings.TrimPrefix(r.server.URL, "http://"))
	}
	return text.String()
}

// Faults of the registry: an image under docker.io/faulty/<fault>/ is served with that fault.
const (
	FaultNotFound     = "404"       // every request: not found
	FaultUnauthorized = "401"       // every request: unauthorized
	FaultBroken       = "500"       // every request: internal error
	FaultDigest       = "digest"    // layers do not match their digest; same length
	FaultTruncated    = "truncated" // layers are cut short
)

func faults(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, faulty := strings.CutPrefix(r.URL.Path, "/v2/faulty/")
		fault, _, _ := strings.Cut(rest, "/")
		if !faulty {
			next.ServeHTTP(w, r)
			return
		}
		serveFault(fault, next, w, r)
	})
}

func serveFault(fault string, next http.Handler, w http.ResponseWriter, r *http.Request) {
	switch fault {
	case FaultNotFound:
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
	case FaultUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="bench"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
	case FaultBroken:
		http.Error(w, `{"errors":[{"code":"UNKNOWN"}]}`, http.StatusInternalServerError)
	default:
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && !isJSON(body) {
			body = spoil(fault, body)
		}
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.Code)
		// The client gets an error when the body is shorter than its Content-Length: that is the
		// fault.
		_, _ = w.Write(body)
	}
}

// isJSON reports whether a blob is an image config, which the faults leave unchanged, and not a
// layer.
func isJSON(body []byte) bool { return len(body) > 0 && body[0] == '{' }

func spoil(fault string, body []byte) []byte {
	spoiled := append([]byte(nil), body...)
	if len(spoiled) == 0 {
		return spoiled
	}
	if fault == FaultTruncated {
		return spoiled[:len(spoiled)/2]
	}
	spoiled[len(spoiled)/2] ^= 0xff
	return spoiled
}
