// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// The limits of k8s.io/cri-streaming, which clients expect.
const (
	urlTimeout = time.Minute
	maxPending = 1000
)

// pending has the registered streams whose URLs are not used yet, and counts those being served.
type pending struct {
	mu      sync.Mutex
	streams map[string]pendingStream // by the path of their URL
	closed  bool
	active  sync.WaitGroup
}

type pendingStream struct {
	serve   http.HandlerFunc
	expires time.Time
}

// add registers serve for a minute under the path of the returned token, which cannot be guessed.
// Too many registered streams are errdefs.ErrResourceExhausted.
func (p *pending) add(kind string, serve http.HandlerFunc) (token string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for path, stream := range p.streams {
		if now.After(stream.expires) {
			delete(p.streams, path)
		}
	}
	if len(p.streams) >= maxPending {
		return "", fmt.Errorf("%d streams are waiting for their clients; try again in a minute: %w", len(p.streams), errdefs.ErrResourceExhausted)
	}
	if p.streams == nil {
		p.streams = make(map[string]pendingStream)
	}
	token = rand.Text()
	p.streams[urlPath(kind, token)] = pendingStream{serve, now.Add(urlTimeout)}
	return token, nil
}

// take returns the stream registered under a path, once. The caller calls done when it has served
// the stream.
func (p *pending) take(path string) (http.HandlerFunc, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stream, ok := p.streams[path]
	delete(p.streams, path)
	if !ok || p.closed || time.Now().After(stream.expires) {
		return nil, false
	}
	p.active.Add(1)
	return stream.serve, true
}

func (p *pending) done() { p.active.Done() }

// close rejects all further streams and waits for those being served.
func (p *pending) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.active.Wait()
}
