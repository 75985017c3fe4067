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

// The limits of k8s.io/cri-streaming, which callers know.
const (
	promiseTTL  = time.Minute
	maxPromises = 1000
)

// pending are the streams that were promised and not asked for yet, and the
// count of those being served.
type pending struct {
	mu      sync.Mutex
	streams map[string]promise // by the path of their URL
	closed  bool
	active  sync.WaitGroup
}

type promise struct {
	serve   http.HandlerFunc
	expires time.Time
}

// add keeps serve for a minute under the path of the returned token, which
// cannot be guessed. Too many promises are errdefs.ErrResourceExhausted.
func (p *pending) add(kind string, serve http.HandlerFunc) (token string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for path, promise := range p.streams {
		if now.After(promise.expires) {
			delete(p.streams, path)
		}
	}
	if len(p.streams) >= maxPromises {
		return "", fmt.Errorf("%d streams wait for their clients, try again in a minute: %w", len(p.streams), errdefs.ErrResourceExhausted)
	}
	if p.streams == nil {
		p.streams = make(map[string]promise)
	}
	token = rand.Text()
	p.streams[urlPath(kind, token)] = promise{serve, now.Add(promiseTTL)}
	return token, nil
}

// take returns what was promised under a path, once. The caller calls done
// when it has served it.
func (p *pending) take(path string) (http.HandlerFunc, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	promise, ok := p.streams[path]
	delete(p.streams, path)
	if !ok || p.closed || time.Now().After(promise.expires) {
		return nil, false
	}
	p.active.Add(1)
	return promise.serve, true
}

func (p *pending) done() { p.active.Done() }

// close lets nothing more be taken and waits for what is being served.
func (p *pending) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.active.Wait()
}
