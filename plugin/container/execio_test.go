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

// copied are the streams of an exited process: data from the pipe is copied to a client.
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

// slowWriter takes one second for each byte.
type slowWriter struct{ got int }

func (s *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)) * time.Second)
	s.got += len(p)
	return len(p), nil
}

// A slow client gets all output of a command. A silent child process that holds the streams open
// delays the exec no longer than execIdleTimeout.
func TestExecOutputForSlowClient(t *testing.T) {
	for _, c := range []struct {
		name   string
		chunks []int         // sizes of the writes after the exit, in bytes
		pause  time.Duration // after each write
		close  bool
		want   int
		took   time.Duration
	}{
		{"slow client", []int{60, 60}, 0, true, 120, 120 * time.Second},
		{"no output", nil, 0, true, 0, 0},
		{"a silent child", nil, 0, false, 0, execIdleTimeout},
		{"a child that becomes silent", []int{5}, 0, false, 5, 5*time.Second + execIdleTimeout},
		{"a child that keeps writing", []int{1, 1, 1}, execIdleTimeout / 2, true, 3, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, to := io.Pipe()
				client, traffic := &slowWriter{}, newTraffic()
				streams := copied{from: from, done: make(chan struct{})}
				go func() {
					defer close(streams.done)
					_, _ = io.Copy(traffic.writer(client), from)
				}()
				go func() {
					for _, size := range c.chunks {
						_, _ = to.Write(make([]byte, size))
						time.Sleep(c.pause)
					}
					if c.close {
						to.Close()
					}
				}()
				begun := time.Now()
				b := newExecIO(streams, traffic)
				b.drain(t.Context(), execIdleTimeout)
				if took := time.Since(begun); client.got != c.want || took != c.took {
					t.Errorf("the client got %d bytes in %s, want %d in %s", client.got, took, c.want, c.took)
				}
				<-b.ended
			})
		})
	}
}

// A child process that writes indefinitely delays neither the drain, which ends with its context,
// nor a later wait for the streams.
func TestDrainEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := io.Pipe()
		traffic := newTraffic()
		streams := copied{from: from, done: make(chan struct{})}
		go func() {
			defer close(streams.done)
			_, _ = io.Copy(traffic.writer(io.Discard), from)
		}()
		killed := make(chan struct{}) // by SIGPIPE
		go func() {
			defer close(killed)
			for {
				if _, err := to.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(execIdleTimeout / 4)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*execIdleTimeout)
		defer cancel()
		begun := time.Now()
		e := newExecIO(streams, traffic)
		e.drain(ctx, execIdleTimeout)
		e.Wait()
		if took := time.Since(begun); took != 3*execIdleTimeout {
			t.Errorf("the drain took %s, want %s", took, 3*execIdleTimeout)
		}
		<-e.ended
		<-killed
	})
}

// A client that accepts no output does not block Wait after Close.
func TestWaitAfterCloseDoesNotBlock(t *testing.T) {
	never := copied{done: make(chan struct{})}
	e := newExecIO(never, newTraffic())
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	e.Wait()
	close(never.done)
}
