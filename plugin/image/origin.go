// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// maxRedirects is the limit of net/http.
const maxRedirects = 10

// findCredentials returns the credentials to answer the challenge of a host with.
type findCredentials func(host string) (username, secret string, err error)

// onlyFor returns a function that answers the challenges of origin only. A registry can redirect a
// client to any other host, whose challenge is then answered without credentials (CVE-2020-15157).
func (find findCredentials) onlyFor(origin string) findCredentials {
	return func(host string) (username, secret string, err error) {
		if host != origin {
			return "", "", nil
		}
		return find(host)
	}
}

// followRedirects returns a CheckRedirect function for [http.Client]. It keeps credentials only if
// a redirect stays on the same scheme, host and port; net/http compares host names only. It calls
// the authorizer for another host, too, because that host may require a token that needs no
// credentials.
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

// requireTLS refuses to send credentials in clear text to a token server that was named by a
// registry with TLS (CVE-2019-10214).
func requireTLS(next http.RoundTripper) http.RoundTripper { return tlsTransport{next} }

type tlsTransport struct{ next http.RoundTripper }

// RoundTrip sends a request. A request with a body counts as one with credentials, because it
// exchanges them for a token.
func (t tlsTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" || req.Header.Get("Authorization") == "" && req.Body == nil {
		return t.next.RoundTrip(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, fmt.Errorf("token server %s: no TLS, although its registry has TLS; credentials not sent: %w",
		req.URL.Host, errdefs.ErrFailedPrecondition)
}
