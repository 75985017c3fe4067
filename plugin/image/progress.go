// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// meter watches the HTTP traffic of one pull. It counts in the transport, not in the content store,
// for two reasons: it costs no metadata transactions; and a pull that waits for the unpacking, or
// for another pull that downloads the same layer, has no open request and does not count as
// stalled.
type meter struct {
	begin time.Time
	bytes atomic.Uint64 // of response bodies
	open  atomic.Int64  // requests in progress, until their bodies are read
	moved atomic.Int64  // time of the last request, response or byte, in nanoseconds after begin
}

func newMeter() *meter {
	return &meter{begin: time.Now()}
}

// wrap returns a transport that meters the traffic of next.
func (m *meter) wrap(next http.RoundTripper) http.RoundTripper {
	return meteredTransport{meter: m, next: next}
}

// watch returns errStalled when a request has been open for the timeout without a byte, and nil
// when ctx ends.
func (m *meter) watch(ctx context.Context, timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		idle := m.idle()
		if idle >= timeout {
			return errStalled
		}
		timer.Reset(timeout - idle)
	}
}

// progress describes the traffic so far.
func (m *meter) progress() string {
	const mebibyte = 1 << 20
	received, took := float64(m.bytes.Load())/mebibyte, time.Since(m.begin).Seconds()
	text := fmt.Sprintf("%.1f MiB, %.1f MiB/s", received, received/max(took, 0.001))
	if idle := m.idle(); idle >= time.Second {
		text += fmt.Sprintf(", no data for %s", idle.Round(time.Second))
	}
	return text
}

// idle returns the time since the last byte while requests are open, else zero.
func (m *meter) idle() time.Duration {
	if m.open.Load() == 0 {
		return 0
	}
	return time.Since(m.begin) - time.Duration(m.moved.Load())
}

func (m *meter) touch() {
	m.moved.Store(int64(time.Since(m.begin)))
}

type meteredTransport struct {
	meter *meter
	next  http.RoundTripper
}

// RoundTrip sends a request and meters its response until the body ends. A panic in the transport
// or in the body fails the pull: containerd fetches in goroutines of its own.
func (t meteredTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.meter.touch()
	t.meter.open.Add(1)
	resp, err := guard.Value(req.Context(), "ask registry", func() (*http.Response, error) { return t.next.RoundTrip(req) })
	if err != nil {
		t.meter.open.Add(-1)
		return nil, err
	}
	t.meter.touch()
	resp.Body = &meteredBody{ReadCloser: resp.Body, meter: t.meter}
	return resp, nil
}

type meteredBody struct {
	io.ReadCloser
	meter *meter
	once  sync.Once
}

// Read counts the bytes that it reads. The request ends with the body or with an error.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := guard.Value(context.Background(), "read from registry", func() (int, error) { return b.ReadCloser.Read(p) })
	if n > 0 {
		b.meter.bytes.Add(uint64(n))
		b.meter.touch()
	}
	if err != nil {
		b.end()
	}
	return n, err
}

// Close ends the request.
func (b *meteredBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

func (b *meteredBody) end() {
	b.once.Do(func() { b.meter.open.Add(-1) })
}
