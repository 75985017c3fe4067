// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// print writes size bytes to a stream in chunks of 32 KiB, as if read from a pipe.
func print(t *testing.T, w io.Writer, letter byte, size int) {
	t.Helper()
	for chunk := range slices.Chunk(bytes.Repeat([]byte{letter}, size), 32<<10) {
		if n, err := w.Write(chunk); err != nil || n != len(chunk) {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
}

// The output of a command fits into one message. Both streams keep their part, whichever is written
// first.
func TestExecSyncOutputIsBounded(t *testing.T) {
	const all, half = maxExecOutput, maxExecOutput / 2
	for _, tt := range []struct{ stdout, stderr, wantOut, wantErr int }{
		{0, 0, 0, 0},
		{3, 2, 3, 2},
		{all + 5, 0, all, 0},
		{0, all + 5, 0, all},
		{all + 5, 7, all - 7, 7},
		{7, all + 5, 7, all - 7},
		{all, all, half, half},
	} {
		pool := newOutputPool()
		o := newExecOutput(pool)
		print(t, o.stdout, 'o', tt.stdout)
		print(t, o.stderr, 'e', tt.stderr)
		stdout, stderr := o.result()
		if !bytes.Equal(stdout, bytes.Repeat([]byte{'o'}, tt.wantOut)) || !bytes.Equal(stderr, bytes.Repeat([]byte{'e'}, tt.wantErr)) {
			t.Errorf("%d and %d bytes become %d and %d, want %d and %d", tt.stdout, tt.stderr, len(stdout), len(stderr), tt.wantOut, tt.wantErr)
		}
		print(t, o.stdout, 'x', 10) // by a child process that the command left behind
		o.release()
		if *pool != *newOutputPool() {
			t.Errorf("%d of %d chunks are in the pool", pool.left, newOutputPool().left)
		}
	}
}

// The output that all commands together keep is bounded, and each command keeps some of it.
func TestExecOutputsAreBoundedInAll(t *testing.T) {
	pool := newOutputPool()
	var outputs []*execOutput
	total := 0
	for range 64 {
		o := newExecOutput(pool)
		print(t, o.stdout, 'y', 4<<20)
		print(t, o.stderr, 'y', 4<<20)
		stdout, stderr := o.result()
		if len(stdout) < execChunk || len(stderr) < execChunk {
			t.Errorf("a command keeps %d and %d bytes, want at least %d of each", len(stdout), len(stderr), execChunk)
		}
		total += len(stdout) + len(stderr)
		outputs = append(outputs, o)
	}
	if bound := execPoolSize + 2*len(outputs)*execChunk; total > bound {
		t.Errorf("%d bytes are kept, want at most %d", total, bound)
	}
	for _, o := range outputs {
		o.release()
	}
	if *pool != *newOutputPool() {
		t.Errorf("%d of %d chunks are in the pool", pool.left, newOutputPool().left)
	}
}
