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
	// maxToken bounds the answer of a token server in bytes: containerd decodes it in memory,
	// whatever its length.
	maxToken = 1 << 20
	// maxAnswerHeaders bounds the headers of an answer in bytes.
	maxAnswerHeaders = 1 << 20
)

// contentKey marks the context of a request for content, whose length its descriptor has.
type contentKey struct{}

func ofContent(ctx context.Context) context.Context {
	return context.WithValue(ctx, contentKey{}, true)
}

func isOfContent(ctx context.Context) bool { return ctx.Value(contentKey{}) != nil }

// boundAnswers bounds what a registry answers. The fetcher bounds the body of content.
func boundAnswers(next http.RoundTripper) http.RoundTripper {
	if t, ok := next.(*http.Transport); ok {
		t.MaxResponseHeaderBytes = maxAnswerHeaders
	}
	return boundedTransport{next: next, limit: maxMetadata, exempt: isOfContent}
}

// boundTokens bounds what a token server answers.
func boundTokens(next http.RoundTripper) http.RoundTripper {
	return boundedTransport{next: next, limit: maxToken, exempt: func(context.Context) bool { return false }}
}

// boundedTransport ends a body that is longer than its limit with an error.
type boundedTransport struct {
	next   http.RoundTripper
	limit  int64
	exempt func(context.Context) bool
}

// RoundTrip sends a request.
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

// Read reads up to the limit, and one byte more to see whether the body goes on.
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
	return n, fmt.Errorf("answer of %s: more than %d bytes: %w", b.host, b.limit, errdefs.ErrInvalidArgument)
}
