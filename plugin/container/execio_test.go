// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// copied is the streams of a process that has ended: from is copied to a client.
type copied struct {
	cio.IO
	from *io.PipeReader
	done chan struct{}
}

func (c copied) Wait() { <-c.done }

func (c copied) Close() error {
	if c.from == nil {
		return nil
	}
	return c.from.Close()
}

// slowWriter takes a second for each byte.
type slowWriter struct{ got int }

func (s *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)) * time.Second)
	s.got += len(p)
	return len(p), nil
}

// TestExecOutputForSlowClient wants all that a command has written to get to its client, however
// slow, and no wait for a child that holds the streams open and says nothing.
func TestExecOutputForSlowClient(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []int         // what is written after the end of the command, in bytes
		pause  time.Duration // between two
		close  bool
		want   int
		took   time.Duration
	}{
		{"slow client", []int{60, 60}, 0, true, 120, 120 * time.Second},
		{"nothing more", nil, 0, true, 0, 0},
		{"a child that says nothing", nil, 0, false, 0, execDrain},
		{"a child that says nothing more", []int{5}, 0, false, 5, 5*time.Second + execDrain},
		{"a child that goes on", []int{1, 1, 1}, execDrain / 2, true, 3, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, to := io.Pipe()
				client, flow := &slowWriter{}, newFlow()
				streams := copied{from: from, done: make(chan struct{})}
				go func() {
					defer close(streams.done)
					_, _ = io.Copy(flow.through(client), from)
				}()
				go func() {
					for _, size := range c.pieces {
						_, _ = to.Write(make([]byte, size))
						time.Sleep(c.pause)
					}
					if c.close {
						to.Close()
					}
				}()
				begun := time.Now()
				b := newExecIO(streams, flow)
				b.drain(t.Context(), execDrain)
				if took := time.Since(begun); client.got != c.want || took != c.took {
					t.Errorf("the client got %d bytes in %s, want %d in %s", client.got, took, c.want, c.took)
				}
				<-b.ended
			})
		})
	}
}

// A child that a command left behind and that writes for ever holds up nobody: neither the drain,
// which ends with its context, nor what waits for the streams after that.
func TestDrainEndsWhoeverWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := io.Pipe()
		flow := newFlow()
		streams := copied{from: from, done: make(chan struct{})}
		go func() {
			defer close(streams.done)
			_, _ = io.Copy(flow.through(io.Discard), from)
		}()
		killed := make(chan struct{}) // by SIGPIPE
		go func() {
			defer close(killed)
			for {
				if _, err := to.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(execDrain / 4)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*execDrain)
		defer cancel()
		begun := time.Now()
		e := newExecIO(streams, flow)
		e.drain(ctx, execDrain)
		e.Wait()
		if took := time.Since(begun); took != 3*execDrain {
			t.Errorf("the drain took %s, want %s", took, 3*execDrain)
		}
		<-e.ended
		<-killed
	})
}

// A client that takes nothing holds up nobody, either.
func TestClosedStreamsAreNotWaitedFor(t *testing.T) {
	never := copied{done: make(chan struct{})}
	e := newExecIO(never, newFlow())
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	e.Wait()
	close(never.done)
}
