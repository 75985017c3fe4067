// SPDX-License-Identifier: Apache-2.0

package crilog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Names of the streams, as they stand in the log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

const (
	tagFull    = 'F'
	tagPartial = 'P'

	// longestLine is the limit where no limit is configured, in bytes: a
	// container that never ends its line must not eat the node's memory.
	longestLine = 1 << 20

	// flushSize is how much output is gathered before it goes to the file,
	// keepSize the largest buffer for that which is kept for reuse, and keepRest
	// the largest for the beginning of a line, in bytes.
	flushSize = 64 << 10
	keepSize  = 4 * flushSize
	keepRest  = 4 << 10
)

// buffers is shared by all writers of the process, which need one only while
// they write: most logs rest most of the time.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Options of a Writer.
type Options struct {
	// MaxLine is the longest content of one record in bytes
	// (max_container_log_line_size). Zero and less means the largest there is,
	// 1 MiB.
	MaxLine int
	// OnError is told the first of a row of failed writes, such as a full
	// disk; writes go on being tried. It is called with the Writer locked and
	// must not call it. Nil is allowed.
	OnError func(error)
}

// Writer appends the records of a container's streams to its log file.
type Writer struct {
	dir, name string
	maxLine   int
	onError   func(error)

	reopening sync.Mutex // serializes Reopen and Close; taken before mu
	closed    bool       // guarded by reopening

	mu      sync.Mutex // guards all below, and the rest of each Stream
	file    *os.File   // nil when closed
	buf     *[]byte    // records on their way to the file, nil when there are none
	stamp   []byte     // time of the records of the current Write
	torn    bool       // the file ends within a record
	failing bool       // the last write to the file failed
	lost    int        // records that the log lacks at its end
}

// Open opens the log file name in dir, the log_path and log_directory of the
// CRI, and creates it (mode 0640) and its directories where they are missing.
// With dir empty, name is the whole path and its directory is trusted.
//
// The files below dir may be in the hands of a container that mounts them:
// name must stay below dir, also through symbolic links, and the log must be a
// regular file and no symbolic link (CVE-2025-0750 and its family). Anything
// else is errdefs.ErrInvalidArgument or errdefs.ErrFailedPrecondition.
func Open(dir, name string, opts Options) (*Writer, error) {
	if opts.MaxLine <= 0 {
		opts.MaxLine = longestLine
	}
	if opts.OnError == nil {
		opts.OnError = func(error) {}
	}
	w := &Writer{dir: dir, name: name, maxLine: opts.MaxLine, onError: opts.OnError}
	f, err := openLog(dir, name)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", name, err)
	}
	w.setFileLocked(f)
	return w, nil
}

// Reopen continues the log in a newly opened file, after the old one was
// renamed by a log rotation. The new file is open before the old one is left,
// so no record is lost or cut. On an error the old file stays in use and no
// new one was made, as the CRI wants. A log that is closed is
// errdefs.ErrFailedPrecondition.
func (w *Writer) Reopen() error {
	w.reopening.Lock()
	defer w.reopening.Unlock()
	if w.closed {
		return fmt.Errorf("reopen log %s: it is closed: %w", w.name, errdefs.ErrFailedPrecondition)
	}
	f, err := openLog(w.dir, w.name)
	if err != nil {
		return fmt.Errorf("reopen log %s: %w", w.name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.file
	w.setFileLocked(f)
	if err := old.Close(); err != nil {
		w.onError(fmt.Errorf("close rotated log: %w", err))
	}
	return nil
}

// Close closes the file. Close the streams first: they may hold the beginning
// of a line. What is written later is lost.
func (w *Writer) Close() error {
	w.reopening.Lock()
	defer w.reopening.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 {
		w.stampLocked()
		w.writeLocked(w.markerLocked())
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// Stream returns a new writer of one of the container's streams.
func (w *Writer) Stream(name string) *Stream {
	return &Stream{w: w, name: name}
}

func (w *Writer) setFileLocked(f *os.File) {
	w.file = f
	w.torn = endsWithinLine(f)
	w.failing = false
}

// addLocked adds the record with the content head+tail.
func (w *Writer) addLocked(stream string, tag byte, head, tail []byte) {
	if w.buf == nil {
		w.buf = buffers.Get().(*[]byte)
	}
	buf := append(*w.buf, w.stamp...)
	buf = append(buf, ' ')
	buf = append(buf, stream...)
	buf = append(buf, ' ', tag, ' ')
	buf = append(buf, head...)
	buf = append(buf, tail...)
	buf = append(buf, '\n')
	*w.buf = buf
	if len(buf) >= flushSize {
		w.flushLocked()
	}
}

// flushLocked writes what is gathered. After writes that failed, such as on a
// full disk, the first that works says how many records are missing before it.
func (w *Writer) flushLocked() {
	if w.buf == nil {
		return
	}
	if w.lost > 0 && w.writeLocked(w.markerLocked()) == 0 {
		w.lost = 0
	}
	if w.lost > 0 {
		w.lost += bytes.Count(*w.buf, []byte{'\n'})
	} else {
		w.lost = w.writeLocked(*w.buf)
	}
	*w.buf = reuse(*w.buf, keepSize)
	buffers.Put(w.buf)
	w.buf = nil
}

func (w *Writer) markerLocked() []byte {
	return fmt.Appendf(nil, "%s %s %c containerd-lite: %d records of this log are lost: it could not be written\n",
		w.stamp, Stderr, tagFull, w.lost)
}

// writeLocked writes records to the file and returns how many did not get there.
func (w *Writer) writeLocked(records []byte) (lost int) {
	p := records
	if w.torn {
		p = append([]byte{'\n'}, records...)
	}
	n, err := w.file.Write(p) // a nil file returns os.ErrInvalid
	if n > 0 {
		w.torn = p[n-1] != '\n'
	}
	if err == nil {
		w.failing = false
		return 0
	}
	if !w.failing && !errors.Is(err, os.ErrInvalid) {
		w.onError(fmt.Errorf("write log %s: %w", w.name, err))
	}
	w.failing = true
	return bytes.Count(p[max(n, len(p)-len(records)):], []byte{'\n'})
}

// Stream is one output stream of a container. Its Write always takes all
// bytes, whatever happens to the file: a full disk must not stop the
// container.
type Stream struct {
	w    *Writer
	name string
	rest []byte // the line begun, at most maxLine bytes; guarded by w.mu
}

// Write adds output. Complete lines are in the file when it returns.
func (s *Stream) Write(p []byte) (int, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stampLocked()
	for rest := p; len(rest) > 0; {
		line, next, ended := bytes.Cut(rest, []byte{'\n'})
		rest = next
		for len(s.rest)+len(line) > w.maxLine {
			n := w.maxLine - len(s.rest)
			s.recordLocked(tagPartial, line[:n])
			line = line[n:]
		}
		if ended {
			s.recordLocked(tagFull, line)
		} else {
			s.rest = append(s.rest, line...)
		}
	}
	w.flushLocked()
	return len(p), nil
}

// Close writes the begun line, if there is one. The stream may be used again,
// but its next byte begins a new record.
func (s *Stream) Close() error {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(s.rest) > 0 {
		w.stampLocked()
		s.recordLocked(tagPartial, nil)
		w.flushLocked()
	}
	return nil
}

func (s *Stream) recordLocked(tag byte, tail []byte) {
	s.w.addLocked(s.name, tag, s.rest, tail)
	s.rest = reuse(s.rest, keepRest)
}

func (w *Writer) stampLocked() {
	w.stamp = time.Now().AppendFormat(w.stamp[:0], time.RFC3339Nano)
}

// reuse empties a buffer, or gives up one that is too large to keep.
func reuse(b []byte, keep int) []byte {
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}
