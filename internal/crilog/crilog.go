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

// Names of the streams in the log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

const (
	tagFull    = 'F'
	tagPartial = 'P'

	// defaultMaxLine is the limit of a line in bytes if none is configured: an endless line must
	// not use up the node's memory.
	defaultMaxLine = 1 << 20

	// flushSize is the number of bytes that are buffered before a write to the file. keepSize is
	// the maximum capacity of a buffer that is kept for reuse, and keepRest that of an incomplete
	// line, in bytes.
	flushSize = 64 << 10
	keepSize  = 4 * flushSize
	keepRest  = 4 << 10
)

// buffers is shared by all writers of the process. A writer holds a buffer only while it writes,
// because most logs are idle most of the time.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Options of a Writer.
type Options struct {
	// MaxLine is the maximum content of one record in bytes (max_container_log_line_size). Zero or
	// less means 1 MiB.
	MaxLine int
	// OnError is called for the first failure in a series of failed writes, such as on a full disk;
	// later writes are still tried. It is called with the Writer locked and must not call the
	// Writer. It may be nil.
	OnError func(error)
}

// Writer appends the records of a container's streams to its log file.
type Writer struct {
	dir, name string
	maxLine   int
	onError   func(error)

	reopening sync.Mutex // serializes Reopen and Close; taken before mu
	closed    bool       // guarded by reopening

	mu      sync.Mutex // guards the fields below, and rest of each Stream
	file    *os.File   // nil after Close
	buf     *[]byte    // records not yet written; nil without any
	stamp   []byte     // timestamp of the records of the current Write
	torn    bool       // the file ends within a record
	failing bool       // the last write to the file failed
	lost    int        // records dropped since the last successful write
}

// Open opens the log file name in dir (the CRI's log_path and log_directory). It creates the file
// (mode 0640) and missing directories. If dir is empty, name is the whole path and its directory is
// trusted.
//
// A container may mount dir and control the files in it. name must therefore stay below dir, even
// through symbolic links, and the log must be a regular file, not a symbolic link (CVE-2025-0750
// and similar). Otherwise the error is errdefs.ErrInvalidArgument or errdefs.ErrFailedPrecondition.
func Open(dir, name string, opts Options) (*Writer, error) {
	if opts.MaxLine <= 0 {
		opts.MaxLine = defaultMaxLine
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

// Reopen continues the log in a new file after a log rotation has renamed the old one. It opens the
// new file before it closes the old one, so that no record is lost or cut. After an error the old
// file stays in use and no new file exists, as the CRI requires. The error of a closed log is
// errdefs.ErrFailedPrecondition.
func (w *Writer) Reopen() error {
	w.reopening.Lock()
	defer w.reopening.Unlock()
	if w.closed {
		return fmt.Errorf("reopen log %s: already closed: %w", w.name, errdefs.ErrFailedPrecondition)
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

// Close closes the file. Close the streams first: they may hold an incomplete line. Later writes
// are dropped.
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

// Stream returns a new writer for one of the container's streams.
func (w *Writer) Stream(name string) *Stream {
	return &Stream{w: w, name: name}
}

func (w *Writer) setFileLocked(f *os.File) {
	w.file = f
	w.torn = endsWithinLine(f)
	w.failing = false
}

// addLocked adds a record with the content head+tail.
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

// flushLocked writes the buffered records. After failed writes, such as on a full disk, the first
// successful write begins with a record that gives the number of dropped records.
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

// writeLocked writes records to the file and returns how many were not written.
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

// Stream is one output stream of a container. Write never fails, whatever happens to the file: a
// full disk must not stop the container.
type Stream struct {
	w    *Writer
	name string
	rest []byte // the incomplete line, at most maxLine bytes; guarded by w.mu
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

// Close writes the incomplete line, if any. The stream may be used again; its next byte begins a
// new record.
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

// reuse empties a buffer, or drops it if it is larger than keep.
func reuse(b []byte, keep int) []byte {
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}
