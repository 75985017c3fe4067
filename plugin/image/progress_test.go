// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
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
