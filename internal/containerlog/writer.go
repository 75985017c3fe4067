// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

const (
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

// Writer appends the records of a container's streams to its log file. A nil Writer discards them.
type Writer struct {
	to      Destination
	onError func(error)

	reopening sync.Mutex // serializes Reopen and Close; taken before mu
	closed    bool       // guarded by reopening

	mu      sync.Mutex // guards the fields below, and rest of each stream
	file    *os.File   // nil after Close
	buf     *[]byte    // records not yet written; nil without any
	stamp   []byte     // timestamp of the records of the current Write
	torn    bool       // the file ends within a record
	failing bool       // the last write to the file failed
	lost    int        // records dropped since the last successful write
	follows bool       // see Follow
	looked  time.Time  // when followLocked last looked at the path of the log
}

// Open opens the log file. It creates the file (mode 0640) and missing directories. If to.Dir is
// empty, to.Name is the whole path and its directory is trusted.
//
// A container may mount to.Dir and control the files in it. to.Name must therefore stay below it,
// even through symbolic links, and the log must be a regular file, not a symbolic link
// (CVE-2025-0750 and similar). Otherwise the error is errdefs.ErrInvalidArgument or
// errdefs.ErrFailedPrecondition.
//
// onError is called for the first failure in a series of failed writes, such as on a full disk;
// later writes are still tried. It is called with the Writer locked and must not call the Writer.
// It may be nil.
func Open(to Destination, onError func(error)) (*Writer, error) {
	if to.MaxLine <= 0 {
		to.MaxLine = defaultMaxLine
	}
	if onError == nil {
		onError = func(error) {}
	}
	w := &Writer{to: to, onError: onError}
	f, err := openFile(to.Dir, to.Name)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", to.Name, err)
	}
	w.setFileLocked(f)
	return w, nil
}

// Reopen continues the log in a new file after a log rotation has renamed the old one. It opens the
// new file before it closes the old one, so that no record is lost or cut. After an error the old
// file stays in use and no new file exists, as the CRI requires. The error of a closed log is
// errdefs.ErrFailedPrecondition.
func (w *Writer) Reopen() error {
	if w == nil {
		return nil
	}
	w.reopening.Lock()
	defer w.reopening.Unlock()
	if w.closed {
		return fmt.Errorf("reopen log %s: already closed: %w", w.to.Name, errdefs.ErrFailedPrecondition)
	}
	f, err := openFile(w.to.Dir, w.to.Name)
	if err != nil {
		return fmt.Errorf("reopen log %s: %w", w.to.Name, err)
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

// followPeriod is the time between two looks at the path of a log that follows a rotation.
const followPeriod = time.Second

// Follow makes the Writer continue in the file at the path of the log when another program has
// replaced it: stock containerd does so when it is asked to reopen a log that it does not write.
// The Writer looks for such a file at a write, once in followPeriod. Follow must be called before
// the first write.
func (w *Writer) Follow() { w.follows = true }

// followLocked opens the file at the path of the log if it is not the one in use. Without a file at
// the path, or with one that cannot be opened, it does nothing.
func (w *Writer) followLocked(now time.Time) {
	if !w.follows || w.file == nil || now.Sub(w.looked) < followPeriod {
		return
	}
	w.looked = now
	there, err := os.Lstat(filepath.Join(w.to.Dir, w.to.Name))
	if err != nil || !there.Mode().IsRegular() {
		return
	}
	if here, err := w.file.Stat(); err != nil || os.SameFile(here, there) {
		return
	}
	f, err := openFile(w.to.Dir, w.to.Name)
	if err != nil {
		return
	}
	_ = w.file.Close()
	w.setFileLocked(f)
}

// Close closes the file. Close the outputs first: they may hold an incomplete line. Later writes
// are dropped.
func (w *Writer) Close() error {
	if w == nil {
		return nil
	}
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

func (w *Writer) setFileLocked(f *os.File) {
	w.file = f
	w.torn = endsWithinLine(f)
	w.failing = false
}

// flushLocked writes the buffered records. After failed writes, such as on a full disk, the first
// successful write begins with a record that gives the number of dropped records.
func (w *Writer) flushLocked() {
	if w.buf == nil {
		return
	}
	w.followLocked(time.Now())
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
		w.onError(fmt.Errorf("write log %s: %w", w.to.Name, err))
	}
	w.failing = true
	return bytes.Count(p[max(n, len(p)-len(records)):], []byte{'\n'})
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
