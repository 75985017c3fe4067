// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWatch simulates the traffic of a pull with fake time.
func TestWatch(t *testing.T) {
	const limit = time.Minute
	for name, tc := range map[string]struct {
		traffic func(m *meter)
		want    time.Duration // when the pull counts as stalled, 0 for never
	}{
		"nothing to do": {traffic: func(*meter) { time.Sleep(time.Hour) }},
		"no response": {want: limit, traffic: func(m *meter) {
			get(m, func() { time.Sleep(time.Hour) }, 0)
		}},
		"no bytes": {want: limit, traffic: func(m *meter) { get(m, nil, time.Hour) }},
		"slow but moving": {traffic: func(m *meter) {
			for range 100 {
				get(m, nil, limit-time.Second)
			}
		}},
		"stalls after a pause": {want: time.Hour + 2*limit, traffic: func(m *meter) {
			get(m, nil, limit/2)
			time.Sleep(time.Hour + limit/2) // no request is open while a layer is unpacked
			get(m, nil, time.Hour)
		}},
		"fails": {traffic: func(m *meter) {
			rt := m.wrap(transportFunc(func(*http.Request) (*http.Response, error) { return nil, io.EOF }))
			_, _ = rt.RoundTrip(&http.Request{})
			time.Sleep(time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeter()
				begin := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan time.Duration, 1)
				go func() {
					if err := m.watch(ctx, limit); errors.Is(err, errStalled) {
						result <- time.Since(begin)
					}
					close(result)
				}()
				tc.traffic(m)
				cancel()
				if got := <-result; got != tc.want {
					t.Errorf("stalled after %s, want %s", got, tc.want)
				}
			})
		})
	}
}

// get sends a request whose response arrives after wait, and the one byte of its body after delay.
func get(m *meter, wait func(), delay time.Duration) {
	rt := m.wrap(transportFunc(func(*http.Request) (*http.Response, error) {
		if wait != nil {
			wait()
		}
		return &http.Response{Body: &slowBody{delay: delay}}, nil
	}))
	resp, _ := rt.RoundTrip(&http.Request{})
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

type slowBody struct {
	delay time.Duration
	done  bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	time.Sleep(b.delay)
	b.done = true
	return copy(p, "x"), nil
}

func (b *slowBody) Close() error { return nil }

// TestProgress checks the text while two of three layers are on their way: one of them twice in the
// manifest.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mebibyte = 1 << 20
		m := newMeter()
		time.Sleep(2 * time.Second)
		if got, want := m.progress(), "0.0 MiB, 0.0 MiB/s"; got != want {
			t.Errorf("before the manifest: %q, want %q", got, want)
		}
		for _, layer := range []string{"a", "b", "b"} {
			m.expect(ocispec.Descriptor{Digest: digest.FromString(layer), Size: 5 * mebibyte})
		}
		m.bytes.Store(4 * mebibyte)
		if got, want := m.progress(), "4.0 of 10.0 MiB, 0 of 2 layers, 2.0 MiB/s, 3s left"; got != want {
			t.Errorf("in the middle: %q, want %q", got, want)
		}
		r := m.layer(io.NopCloser(strings.NewReader("layer")))
		if _, err := io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		_, _ = r.Read(make([]byte, 1)) // its end again
		m.bytes.Store(11 * mebibyte)
		if got, want := m.progress(), "11.0 of 11.0 MiB, 1 of 2 layers, 5.5 MiB/s"; got != want {
			t.Errorf("at the end: %q, want %q", got, want)
		}
	})
}

// A layer whose reader can seek goes on where an earlier pull was interrupted.
func TestLayerCanSeek(t *testing.T) {
	type seekable struct {
		io.ReadSeeker
		io.Closer
	}
	r := newMeter().layer(seekable{strings.NewReader("layer"), io.NopCloser(nil)})
	if _, err := r.(io.Seeker).Seek(3, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); string(rest) != "er" || err != nil {
		t.Errorf("the rest of a layer: %q, %v", rest, err)
	}
}
