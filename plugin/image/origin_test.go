// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestRedirectsKeepCredentials checks that redirects to other schemes, hosts and ports get no
// credentials.
func TestRedirectsKeepCredentials(t *testing.T) {
	authorizer := docker.NewDockerAuthorizer()
	follow := followRedirects(authorizer)
	const from = "https://reg.test/v2/app/blobs/x"
	via := []*http.Request{httptest.NewRequest(http.MethodGet, from, nil)}
	for to, want := range map[string]string{
		"https://reg.test/elsewhere": "Basic x", "https://reg.test:8443/": "", "http://reg.test/": "", "https://cdn.test/": "",
	} {
		req := httptest.NewRequest(http.MethodGet, to, nil)
		req.Header.Set("Authorization", "Basic x")
		must(t, follow(req, via))
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("%s gets %q, want %q", to, got, want)
		}
	}
	checkClass(t, follow(via[0], slices.Repeat(via, maxRedirects)), errdefs.ErrFailedPrecondition)
}

// TestCredentialsAreForTheirHost requests credentials for other hosts.
func TestCredentialsAreForTheirHost(t *testing.T) {
	find := findCredentials(credentials{username: "user", secret: "secret"}.forHost).onlyFor("reg.test")
	for host, want := range map[string]string{"reg.test": "secret", "reg.test:8443": "", "evil.test": ""} {
		if _, secret, err := find(host); err != nil || secret != want {
			t.Errorf("%s gets %q, %v; want %q", host, secret, err, want)
		}
	}
}

// TestTokenServersNeedTLS sends requests with and without credentials to a token server without
// TLS.
func TestTokenServersNeedTLS(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	client := http.Client{Transport: requireTLS(http.DefaultTransport)}
	resp, err := client.Get(server.URL)
	must(t, err)
	resp.Body.Close()
	if _, err := client.Post(server.URL, "text/plain", strings.NewReader("password")); err == nil {
		t.Error("a password is sent in clear text")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	must(t, err)
	req.SetBasicAuth("user", "password")
	if _, err := client.Do(req); err == nil {
		t.Error("a header with a password is sent in clear text")
	}
}

func TestPasswordIsRemovedFromReference(t *testing.T) {
	for ref, want := range map[string]string{
		"https://user:pass@reg.test/app": "…@reg.test/app", "user:p@ss@reg.test/app": "…@reg.test/app",
		"reg.test/app@sha256:abc": "reg.test/app@sha256:abc", "reg.test/app:v1": "reg.test/app:v1", "": "",
		"reg.test:5000/app@sha256:abc": "reg.test:5000/app@sha256:abc",
	} {
		if got := WithoutPassword(ref); got != want {
			t.Errorf("%q is shown as %q, want %q", ref, got, want)
		}
	}
}

// TestLayersAreBounded uses manifests with as many layers as can be mounted, and with one more.
func TestLayersAreBounded(t *testing.T) {
	for count, refused := range map[int]bool{maxLayers: false, maxLayers + 1: true} {
		children := withLayerLimit(images.HandlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			return make([]ocispec.Descriptor, 1+count), nil // the config and the layers
		}))
		_, err := children(t.Context(), ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest})
		if errdefs.IsInvalidArgument(err) != refused {
			t.Errorf("%d layers: %v", count, err)
		}
	}
}
