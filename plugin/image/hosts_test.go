// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestMirrorHosts checks the hosts that are asked for a registry. They are those of the built-in
// CRI.
func TestMirrorHosts(t *testing.T) {
	r := Registries{Mirrors: map[string][]string{
		"docker.io":      {"https://one.test", "two.test:5000/v2/proxy", "localhost:5000", "http://127.0.0.1:5001"},
		"own.test":       {"http://own.test", "https://other.test/"},
		"none.test":      {},
		"*":              {"https://any.test"},
		"broken.test":    {"http://"},
		"localhost:5000": {"https://one.test"},
	}}
	for registry, want := range map[string][]string{
		"docker.io": {
			"https://one.test/v2", "https://two.test:5000/v2/proxy", "http://localhost:5000/v2", "http://127.0.0.1:5001/v2",
			"https://registry-1.docker.io/v2",
		},
		"own.test":       {"http://own.test/v2", "https://other.test/"},
		"none.test":      {"https://none.test/v2"},
		"quay.io":        {"https://any.test/v2", "https://quay.io/v2"},
		"localhost:5000": {"https://one.test/v2", "http://localhost:5000/v2"},
	} {
		hosts, err := r.mirrorHosts(registry, http.DefaultClient)
		must(t, err)
		var got []string
		for _, h := range hosts {
			got = append(got, h.Scheme+"://"+h.Host+h.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("hosts of %s (-want +got):\n%s", registry, diff)
		}
	}
	_, err := r.mirrorHosts("broken.test", http.DefaultClient)
	checkClass(t, err, errdefs.ErrInvalidArgument)
	if err != nil && !strings.Contains(err.Error(), "registry.mirrors of broken.test") {
		t.Errorf("error should name the key: %v", err)
	}
}

// TestPullFromMirrorOfTheConfig pulls from the second mirror of registry.mirrors, with the
// credentials of the config for that mirror. The first mirror does not have the image. hosts.toml
// is not read.
func TestPullFromMirrorOfTheConfig(t *testing.T) {
	n, emptyMirror, mirror := newNode(t), newRegistry(t), newRegistry(t)
	img := newImage(t, 1, nil)
	mirror.push(t, mirror.ref("library/app:latest"), img)
	mirror.breakWith(guarded(`Basic realm="x"`, func(header string) bool { return header == "Basic "+b64("user:secret") }))
	files := t.TempDir()
	writeHosts(t, files, "docker.io", "server = \"http://127.0.0.1:1\"\n")
	host := strings.TrimPrefix(mirror.URL, "http://")
	m := n.start(t, Options{Registries: Registries{
		HostsDirs:   []string{files},
		Mirrors:     map[string][]string{"docker.io": {emptyMirror.URL, mirror.URL}},
		Credentials: map[string]*runtimeapi.AuthConfig{host: {Username: "user", Password: "secret"}},
	}})
	id, err := m.Pull(t.Context(), spec("app"), nil, nil)
	must(t, err)
	if id != idOf(t, img) || emptyMirror.requests.Load() == 0 {
		t.Errorf("pulled %s, %d requests to the first mirror", id, emptyMirror.requests.Load())
	}
}

// TestAnswersAreBounded pulls from registries that send endless responses. The pull must fail
// before the response is much longer than its bound.
func TestAnswersAreBounded(t *testing.T) {
	var sent atomic.Int64
	const tooMuch = 256 << 20 // ends a test that fails
	endless := func(w http.ResponseWriter) {
		chunk := bytes.Repeat([]byte(" "), 32<<10)
		for total := 0; total < tooMuch; {
			n, err := w.Write(chunk)
			if err != nil {
				return
			}
			total += n
			sent.Add(int64(n))
		}
	}
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { endless(w) }))
	t.Cleanup(tokens.Close)
	of := func(part string, status int) faultFunc {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) {
				w.WriteHeader(status)
				endless(w)
				return
			}
			if part == "/manifests/" {
				return // a response to HEAD without a digest
			}
			next.ServeHTTP(w, r)
		}
	}
	for name, fault := range map[string]faultFunc{
		"token": guarded(`Bearer realm="`+tokens.URL+`/token",service="test"`, func(string) bool { return false }),
		// The registry names the token server, so the path does not show the type of the response.
		"token that looks like content": guarded(`Bearer realm="`+tokens.URL+`/v2/app/blobs/sha256:1",service="test"`, func(string) bool { return false }),
		"manifest":                      of("/manifests/", http.StatusOK),
		"config":                        of("/blobs/", http.StatusOK),
		"error":                         of("/blobs/", http.StatusForbidden),
		"headers": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxResponseHeaders))
			next.ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.add(t, "app:v1", newImage(t, 1, nil))
			reg.breakWith(fault)
			sent.Store(0)
			if _, err := m.Pull(t.Context(), spec(ref), nil, nil); err == nil {
				t.Error("pull succeeded")
			}
			// The margin is for the buffers of two sockets in each of several attempts.
			if got := sent.Load(); got > 6*(maxMetadata+8<<20) {
				t.Errorf("%d bytes were read", got)
			}
			n.checkEmpty(t)
		})
	}
}
