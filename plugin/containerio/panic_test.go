// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// badClient panics when it is read from or written to.
type badClient struct{}

func (badClient) Read([]byte) (int, error)  { panic("read") }
func (badClient) Write([]byte) (int, error) { panic("write") }

// helloShim is a shim whose containers print hello and exit.
type helloShim struct{}

func (helloShim) Reopen(context.Context, string) error { return nil }

func (helloShim) Follow(context.Context, string, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("hello")), nil
}

// A client whose streams panic is detached with Internal; the next client is attached.
func TestPanicInAttach(t *testing.T) {
	for name, client := range map[string]AttachOptions{
		"stdout": {Stdout: badClient{}},
		"stdin":  {Stdin: badClient{}, Stdout: io.Discard},
	} {
		t.Run(name+" through pipes", func(t *testing.T) {
			o := testOptions(t)
			o.Stdin = true
			s := makeDaemonWritten(t, o)
			defer s.Close()
			shim := startShim(t, s)
			s.Connect()
			attached := make(chan error)
			go func() { attached <- s.Attach(t.Context(), client) }()
			for err := error(nil); err == nil; {
				write(t, shim.stdout, "hello\n")
				select {
				case err = <-attached:
					if !errdefs.IsInternal(err) {
						t.Errorf("Attach = %v, want Internal", err)
					}
				default:
				}
			}
			var out bytes.Buffer
			go func() { attached <- s.Attach(t.Context(), AttachOptions{Stdout: &out}) }()
			shim.close()
			if err := <-attached; err != nil {
				t.Errorf("the next Attach: %v", err)
			}
		})
		t.Run(name+" through the shim", func(t *testing.T) {
			o := testOptions(t)
			o.Stdin, o.ShimLogs = true, helloShim{}
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if name == "stdin" { // an attach ends with the output
				s.(*shimWritten).opts.ShimLogs = silentShim{}
			}
			if err := s.Attach(t.Context(), client); !errdefs.IsInternal(err) {
				t.Errorf("Attach = %v, want Internal", err)
			}
			s.(*shimWritten).opts.ShimLogs = helloShim{}
			var out bytes.Buffer
			if err := s.Attach(t.Context(), AttachOptions{Stdout: &out}); err != nil || out.String() != "hello" {
				t.Errorf("the next Attach: %v, %q", err, &out)
			}
		})
	}
}

// silentShim is a shim whose containers print nothing and keep running.
type silentShim struct{ helloShim }

func (silentShim) Follow(ctx context.Context, _, _ string) (io.ReadCloser, error) {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.Close() })
	return r, nil
}

// badLog panics at the first write.
type badLog struct {
	bytes.Buffer
	begun bool
}

func (l *badLog) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		panic("log")
	}
	return l.Buffer.Write(p)
}

func (*badLog) Close() error { return nil }

// The output of a container is still read after a panic; otherwise the container would block.
func TestPanicInALog(t *testing.T) {
	o := testOptions(t)
	s := makeDaemonWritten(t, o)
	defer s.Close()
	log := new(badLog)
	s.outputs[0].Output = containerlog.NewOutput(log)
	shim := startShim(t, s)
	s.Connect()
	before := guard.Count()
	write(t, shim.stdout, "lost\n")
	for guard.Count() == before {
		time.Sleep(time.Millisecond)
	}
	write(t, shim.stdout, "kept\n")
	shim.close()
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := log.String(); got != "kept\n" {
		t.Errorf("log %q, want the output after the panic", got)
	}
}
