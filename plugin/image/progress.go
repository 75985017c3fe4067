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

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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

	expected sync.Map      // digests of the layers that this node does not have
	missing  atomic.Uint64 // their bytes
	layers   atomic.Int64  // their number
	fetched  atomic.Int64  // how many of them have been received
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

// expect records a layer that has to be received.
func (m *meter) expect(layer ocispec.Descriptor) {
	if _, known := m.expected.LoadOrStore(layer.Digest, true); known || layer.Size < 0 {
		return
	}
	m.missing.Add(uint64(layer.Size))
	m.layers.Add(1)
}

// progress describes the traffic so far: bytes, layers, rate, and how long the rest will take at
// this rate.
func (m *meter) progress() string {
	const mebibyte = 1 << 20
	received, missing := float64(m.bytes.Load())/mebibyte, float64(m.missing.Load())/mebibyte
	rate := received / max(time.Since(m.begin).Seconds(), 0.001)
	text := fmt.Sprintf("%.1f MiB, %.1f MiB/s", received, rate)
	if layers := m.layers.Load(); layers > 0 {
		text = fmt.Sprintf("%.1f of %.1f MiB, %d of %d layers, %.1f MiB/s", received, max(received, missing), m.fetched.Load(), layers, rate)
	}
	if left := missing - received; left > 0 && rate > 0 {
		text += fmt.Sprintf(", %s left", max(time.Second, time.Duration(left/rate*float64(time.Second))).Round(time.Second))
	}
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

// layerReader counts a layer when it has been read to its end.
type layerReader struct {
	io.ReadCloser
	ended func()
}

func (r layerReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == io.EOF {
		r.ended()
	}
	return n, err
}

// seekingLayerReader is a layerReader that can go on where an earlier pull was interrupted.
type seekingLayerReader struct {
	layerReader
	io.Seeker
}

// layer returns the reader of a layer, which counts it.
func (m *meter) layer(r io.ReadCloser) io.ReadCloser {
	counted := layerReader{r, sync.OnceFunc(func() { m.fetched.Add(1) })}
	if seeker, ok := r.(io.Seeker); ok {
		return seekingLayerReader{counted, seeker}
	}
	return counted
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
