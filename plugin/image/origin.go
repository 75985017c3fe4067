// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// maxRedirects is that of net/http.
const maxRedirects = 10

// findCredentials returns what to answer the challenge of a host with.
type findCredentials func(host string) (username, secret string, err error)

// of answers the challenges of one host. A registry can redirect a client to any other, whose
// challenge then is answered without credentials (CVE-2020-15157).
func (find findCredentials) of(origin string) findCredentials {
	return func(host string) (username, secret string, err error) {
		if host != origin {
			return "", "", nil
		}
		return find(host)
	}
}

// followRedirects takes credentials along to the same scheme, host and port only: net/http compares
// names of hosts. Another host may ask for a token that needs no credentials.
func followRedirects(authorizer docker.Authorizer) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("registry: %d redirects: %w", maxRedirects, errdefs.ErrFailedPrecondition)
		}
		first := via[0].URL
		if !sameOrigin(first, req.URL) {
			req.Header.Del("Authorization")
			req.Header.Del("Cookie")
		}
		if first.Scheme == "https" && req.URL.Scheme != "https" {
			return nil
		}
		return authorizer.Authorize(req.Context(), req)
	}
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// requireTLS refuses to send credentials in clear text to a token server that a registry with TLS
// names (CVE-2019-10214).
func requireTLS(next http.RoundTripper) http.RoundTripper { return tlsTransport{next} }

type tlsTransport struct{ next http.RoundTripper }

// RoundTrip sends a request. One with a body has credentials in it: it trades them for a token.
func (t tlsTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" || req.Header.Get("Authorization") == "" && req.Body == nil {
		return t.next.RoundTrip(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, fmt.Errorf("token server %s: has no TLS, which its registry has, and gets no credentials: %w",
		req.URL.Host, errdefs.ErrFailedPrecondition)
}
