// SPDX-License-Identifier: Apache-2.0

package evilreg

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Request is a received request.
type Request struct {
	Method, Path string
	Header       http.Header
}

// credentialHeaders are the headers that may carry a secret.
var credentialHeaders = [...]string{"Authorization", "Proxy-Authorization", "Cookie"}

// Credentials returns the headers of the request that carry credentials.
func (r Request) Credentials() []string {
	var found []string
	for _, name := range credentialHeaders {
		for _, value := range r.Header.Values(name) {
			found = append(found, name+": "+value)
		}
	}
	return found
}

// blob is the answer for a path without a script.
type blob struct {
	mediaType string
	content   []byte
}

// Registry is a running registry.
type Registry struct {
	server *httptest.Server

	mu       sync.Mutex // protects the fields below
	scripts  map[string]http.HandlerFunc
	blobs    map[string]blob
	requests []Request
}

// New starts a registry.
func New() *Registry { return start(httptest.NewServer) }

// NewTLS starts a registry that serves HTTPS with a self-signed certificate.
func NewTLS() *Registry { return start(httptest.NewTLSServer) }

func start(listen func(http.Handler) *httptest.Server) *Registry {
	r := &Registry{scripts: map[string]http.HandlerFunc{}, blobs: map[string]blob{}}
	r.server = listen(r)
	return r
}

// URL returns the address of the registry.
func (r *Registry) URL() string { return r.server.URL }

// Close stops the registry and closes all connections.
func (r *Registry) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Mirror configures this registry as the mirror of host; certs is the directory in which the daemon
// looks for hosts.toml.
func (r *Registry) Mirror(certs, host string) error {
	dir := filepath.Join(certs, host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("mirror %s: %w", host, err)
	}
	url, verify := r.URL(), ""
	if r.server.TLS != nil {
		// Unlike 127.0.0.1, this address does not count as local.
		url = strings.Replace(url, "127.0.0.1", "0.0.0.0", 1)
		verify = "  skip_verify = true\n"
	}
	hosts := fmt.Sprintf("server = %[1]q\n\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n%[2]s", url, verify)
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644); err != nil {
		return fmt.Errorf("mirror %s: %w", host, err)
	}
	return nil
}

// Script sets the handler of all requests for a path.
func (r *Registry) Script(path string, answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scripts[path] = answer
}

// Put serves content under its digest, as a manifest and as a blob, in a repository.
func (r *Registry) Put(repository string, desc ocispec.Descriptor, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := blob{desc.MediaType, content}
	r.blobs[ManifestPath(repository, desc.Digest.String())] = b
	r.blobs[BlobPath(repository, desc.Digest)] = b
}

// Tag serves content under a tag.
func (r *Registry) Tag(repository, tag string, desc ocispec.Descriptor, content []byte) {
	r.Put(repository, desc, content)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[ManifestPath(repository, tag)] = blob{desc.MediaType, content}
}

// ManifestPath returns the path of a manifest, by tag or digest.
func ManifestPath(repository, ref string) string { return "/v2/" + repository + "/manifests/" + ref }

// BlobPath returns the path of a blob.
func BlobPath(repository string, d digest.Digest) string {
	return "/v2/" + repository + "/blobs/" + d.String()
}

// Requests returns the received requests whose path starts with prefix.
func (r *Registry) Requests(prefix string) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.requests), func(q Request) bool { return !strings.HasPrefix(q.Path, prefix) })
}

// ServeHTTP calls the script of the path, or serves the content stored for it.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{q.Method, q.URL.Path, q.Header.Clone()})
	script := r.scripts[q.URL.Path]
	b, found := r.blobs[q.URL.Path]
	r.mu.Unlock()
	switch {
	case script != nil:
		script(w, q)
	case found:
		serve(w, b)
	case q.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	default:
		http.Error(w, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, http.StatusNotFound)
	}
}

func serve(w http.ResponseWriter, b blob) {
	w.Header().Set("Content-Type", b.mediaType)
	w.Header().Set("Content-Length", fmt.Sprint(len(b.content)))
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(b.content).String())
	// The client of HEAD reads no body, and in many tests the client closes the connection early.
	_, _ = w.Write(b.content)
}
