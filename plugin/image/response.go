// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/errdefs"
)

const (
	// maxTokenResponse bounds the response of a token server in bytes. containerd's authorizer
	// decodes the response in memory and has no limit of its own.
	maxTokenResponse = 1 << 20
	// maxResponseHeaders bounds the headers of a registry's response in bytes.
	maxResponseHeaders = 1 << 20
)

// contentKey marks the context of a request for content. The length of content is known from its
// descriptor.
type contentKey struct{}

func withContentMark(ctx context.Context) context.Context {
	return context.WithValue(ctx, contentKey{}, true)
}

func hasContentMark(ctx context.Context) bool { return ctx.Value(contentKey{}) != nil }

// limitResponses bounds the headers and the body of each response of a registry. It does not bound
// the body of content, which the fetcher bounds by the descriptor.
func limitResponses(next http.RoundTripper) http.RoundTripper {
	if t, ok := next.(*http.Transport); ok {
		t.MaxResponseHeaderBytes = maxResponseHeaders
	}
	return boundedTransport{next: next, limit: maxMetadata, exempt: hasContentMark}
}

// limitTokenResponses bounds the body of each response of a token server.
func limitTokenResponses(next http.RoundTripper) http.RoundTripper {
	return boundedTransport{next: next, limit: maxTokenResponse, exempt: func(context.Context) bool { return false }}
}

// boundedTransport fails the read of a response body that is longer than its limit.
type boundedTransport struct {
	next   http.RoundTripper
	limit  int64
	exempt func(context.Context) bool
}

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || t.exempt(req.Context()) {
		return resp, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, host: req.URL.Host, limit: t.limit, left: t.limit}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	host        string
	limit, left int64
}

// Read reads up to the limit and one more byte, to detect a longer body.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) <= b.left {
		b.left -= int64(n)
		return n, err
	}
	n, b.left = int(b.left), 0
	return n, fmt.Errorf("response of %s: exceeds %d bytes: %w", b.host, b.limit, errdefs.ErrInvalidArgument)
}
