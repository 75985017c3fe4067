// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// file is a log in memory.
type file struct {
	bytes.Buffer
	closed int
}

func (f *file) Close() error { f.closed++; return nil }

func write(t *testing.T, o *Output, text string) {
	t.Helper()
	if _, err := o.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestClientsGetLaterOutput(t *testing.T) {
	log := &file{}
	o := NewOutput(log)
	write(t, o, "before ")
	first, second := o.Attach(), o.Attach()
	write(t, o, "for two ")
	second.Detach()
	write(t, o, "for one")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client *Client
		want   string
	}{
		"attached": {first, "for two for one"},
		"detached": {second, "for two "},
		"too late": {o.Attach(), ""},
	} {
		var got bytes.Buffer
		err := c.client.CopyTo(t.Context(), func(p []byte) error { got.Write(p); return nil })
		if err != nil || got.String() != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got.String(), err, c.want)
		}
	}
	if got := log.String(); got != "before for two for one" || log.closed != 1 {
		t.Errorf("log %q, closed %d times", got, log.closed)
	}
}

// TestSlowClientIsDetached checks that a client that does not read does not block the container.
func TestSlowClientIsDetached(t *testing.T) {
	log := &file{}
	o := NewOutput(log)
	slow, quick := o.Attach(), o.Attach()
	for range backlog {
		write(t, o, "x")
		if chunk := <-quick.chunks; string(chunk) != "x" {
			t.Fatalf("the quick client got %q", chunk)
		}
	}
	write(t, o, "y")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if want := backlog + 1; log.Len() != want {
		t.Errorf("%d bytes in the log, want %d", log.Len(), want)
	}
	discard := func([]byte) error { return nil }
	if err := slow.CopyTo(t.Context(), discard); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the slow client ended with %v", err)
	}
	if err := quick.CopyTo(t.Context(), discard); err != nil {
		t.Errorf("the quick client ended with %v", err)
	}
}

func TestCopyToEnds(t *testing.T) {
	o := NewOutput(nil)
	c := o.Attach()
	defer c.Detach()
	gone := errors.New("gone")
	write(t, o, "x")
	if err := c.CopyTo(t.Context(), func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("CopyTo = %v, want the error of write", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.CopyTo(ctx, func([]byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("CopyTo = %v, want the error of the context", err)
	}
}
