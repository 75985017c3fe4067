// SPDX-License-Identifier: Apache-2.0

package container

import (
	"io"
	"sync"
)

const (
	// maxExecOutput bounds the bytes that ExecSync answers, of both streams. The CRI says 16 MB for
	// each; the kubelet takes no message above 16 MiB, and would get an error instead of the exit
	// code.
	maxExecOutput = 16_000_000
	// maxExecOutputs bounds the bytes that all ExecSync calls keep, beside one piece for each
	// stream: probes that print without end must not take the node's memory, however many there are
	// (CVE-2022-31030).
	maxExecOutputs = 16 << 20
	// execPiece is how much memory is taken at a time.
	execPiece = 16 << 10
)

// outputPool counts the pieces that all ExecSync calls may still take.
type outputPool struct {
	mu   sync.Mutex
	left int
}

func newOutputPool() *outputPool { return &outputPool{left: maxExecOutputs / execPiece} }

func (p *outputPool) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return false
	}
	p.left--
	return true
}

func (p *outputPool) giveBack(pieces int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left += pieces
}

// execOutput keeps the beginning of what a command prints: at most maxExecOutput bytes, of which
// each stream may have half, and what the other does not need, and what the pool has. The rest is
// dropped. Streams may be written to, without effect, after release.
type execOutput struct {
	pool           *outputPool
	stdout, stderr *execStream

	mu     sync.Mutex
	closed bool
}

// execStream is one of the streams; execOutput.mu guards it.
type execStream struct {
	output *execOutput
	pieces [][]byte // all but the last are full; the first is not the pool's
	size   int
}

func newExecOutput(pool *outputPool) *execOutput {
	o := &execOutput{pool: pool}
	o.stdout, o.stderr = &execStream{output: o}, &execStream{output: o}
	return o
}

// result returns what was kept. The streams keep nothing from then on.
func (o *execOutput) result() (stdout, stderr []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.stdout.join(), o.stderr.join()
}

// release gives the memory back.
func (o *execOutput) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.stdout.truncate(0)
	o.stderr.truncate(0)
}

var _ io.Writer = (*execStream)(nil)

// Write keeps what there is room for, and claims to have written it all: the command goes on.
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

// room returns for how many of want bytes there is room. A stream that has less than its half gets
// it from the other one.
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

// keep appends as much of p as the last piece, or a new one, has room for.
func (s *execStream) keep(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	last := len(s.pieces) - 1
	if last < 0 || len(s.pieces[last]) == execPiece {
		if last >= 0 && !s.output.pool.take() {
			return 0
		}
		s.pieces = append(s.pieces, make([]byte, 0, execPiece))
		last++
	}
	n := min(len(p), execPiece-len(s.pieces[last]))
	s.pieces[last] = append(s.pieces[last], p[:n]...)
	s.size += n
	return n
}

// join returns what was kept in one piece. The pieces are given up one by one, so that the memory
// is not taken twice; they count for the pool until release.
func (s *execStream) join() []byte {
	all := make([]byte, 0, s.size)
	for i, piece := range s.pieces {
		all = append(all, piece...)
		s.pieces[i] = nil
	}
	return all
}

// truncate keeps the first size bytes.
func (s *execStream) truncate(size int) {
	pieces := (size + execPiece - 1) / execPiece
	fromPool := max(0, len(s.pieces)-1) - max(0, pieces-1)
	clear(s.pieces[pieces:])
	s.pieces = s.pieces[:pieces]
	if pieces > 0 {
		s.pieces[pieces-1] = s.pieces[pieces-1][:size-(pieces-1)*execPiece]
	}
	s.size = size
	s.output.pool.giveBack(fromPool)
}
