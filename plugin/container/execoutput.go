// SPDX-License-Identifier: Apache-2.0

package container

import (
	"io"
	"sync"

	"github.com/containerd-lite/containerd-lite/internal/execsync"
)

const (
	// maxExecOutput bounds the output that ExecSync returns, in bytes of both streams together. The
	// CRI allows 16 MB for each, but the kubelet accepts no message above 16 MiB and would get an
	// error instead of the exit code.
	maxExecOutput = execsync.MaxOutput
	// execPoolSize bounds the output that all ExecSync calls together keep, in bytes. The first
	// chunk of each stream is not counted. Probes with endless output must not exhaust the memory
	// of the node, however many there are (CVE-2022-31030).
	execPoolSize = 16 << 20
	// execChunk is how much memory is allocated at a time, in bytes.
	execChunk = 16 << 10
)

// outputPool counts the chunks that all ExecSync calls together may still allocate.
type outputPool struct {
	mu   sync.Mutex
	left int
}

func newOutputPool() *outputPool { return &outputPool{left: execPoolSize / execChunk} }

func (p *outputPool) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return false
	}
	p.left--
	return true
}

func (p *outputPool) release(chunks int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left += chunks
}

// execOutput keeps the beginning of a command's output, at most maxExecOutput bytes. Each stream
// may use half of them, and what the other stream does not use, as long as the pool has chunks
// left. The rest is dropped. After release, writes have no effect.
type execOutput struct {
	pool           *outputPool
	stdout, stderr *execStream

	mu     sync.Mutex
	closed bool
}

// execStream is stdout or stderr; execOutput.mu guards it.
type execStream struct {
	output *execOutput
	chunks [][]byte // all but the last are full; the first is not from the pool
	size   int
}

func newExecOutput(pool *outputPool) *execOutput {
	o := &execOutput{pool: pool}
	o.stdout, o.stderr = &execStream{output: o}, &execStream{output: o}
	return o
}

// result returns the output that was kept. Later writes have no effect.
func (o *execOutput) result() (stdout, stderr []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.stdout.join(), o.stderr.join()
}

// release returns the memory to the pool.
func (o *execOutput) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.stdout.truncate(0)
	o.stderr.truncate(0)
}

var _ io.Writer = (*execStream)(nil)

// Write keeps the part of p that fits. It reports that all of p was written, so that the command
// continues.
func (s *execStream) Write(p []byte) (int, error) {
	o := s.output
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := p; len(rest) > 0 && !o.closed; {
		n := s.keep(rest[:min(len(rest), s.room(len(rest)))])
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// room returns how many more bytes the stream may keep. If no room is left, a stream that has less
// than its half gets the missing bytes, at most want, from the other stream.
func (s *execStream) room(want int) int {
	other := s.output.stdout
	if s == other {
		other = s.output.stderr
	}
	free := maxExecOutput - s.size - other.size
	if free > 0 {
		return free
	}
	mine := min(want, maxExecOutput/2-s.size)
	if mine <= 0 {
		return 0
	}
	other.truncate(other.size - mine)
	return mine
}

// keep appends as much of p as fits into the last chunk, or into a new one if that is full, and
// returns how much it kept.
func (s *execStream) keep(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	last := len(s.chunks) - 1
	if last < 0 || len(s.chunks[last]) == execChunk {
		if last >= 0 && !s.output.pool.take() {
			return 0
		}
		s.chunks = append(s.chunks, make([]byte, 0, execChunk))
		last++
	}
	n := min(len(p), execChunk-len(s.chunks[last]))
	s.chunks[last] = append(s.chunks[last], p[:n]...)
	s.size += n
	return n
}

// join returns the output as one slice. It drops each chunk after copying it, so that the output is
// not twice in memory. The chunks count as used until release.
func (s *execStream) join() []byte {
	all := make([]byte, 0, s.size)
	for i, chunk := range s.chunks {
		all = append(all, chunk...)
		s.chunks[i] = nil
	}
	return all
}

// truncate keeps the first size bytes.
func (s *execStream) truncate(size int) {
	chunks := (size + execChunk - 1) / execChunk
	fromPool := max(0, len(s.chunks)-1) - max(0, chunks-1)
	clear(s.chunks[chunks:])
	s.chunks = s.chunks[:chunks]
	if chunks > 0 {
		s.chunks[chunks-1] = s.chunks[chunks-1][:size-(chunks-1)*execChunk]
	}
	s.size = size
	s.output.pool.release(fromPool)
}
