// SPDX-License-Identifier: Apache-2.0

package containerlog

import "bytes"

// The streams of a container. These are their names in the log, and the methods of [Service] that
// follow them.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

const (
	tagFull    = 'F'
	tagPartial = 'P'
)

// stream turns one output stream of a container into records. Write never fails, whatever happens
// to the file: a full disk must not stop the container.
type stream struct {
	w    *Writer
	name string
	rest []byte // the incomplete line, at most MaxLine bytes; guarded by w.mu
}

// Write adds output. When it returns, the complete lines are written to the file, or dropped if the
// file cannot be written.
func (s *stream) Write(p []byte) (int, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stampLocked()
	for rest := p; len(rest) > 0; {
		line, next, ended := bytes.Cut(rest, []byte{'\n'})
		rest = next
		for len(s.rest)+len(line) > w.to.MaxLine {
			n := w.to.MaxLine - len(s.rest)
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
func (s *stream) Close() error {
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

func (s *stream) recordLocked(tag byte, tail []byte) {
	s.w.addLocked(s.name, tag, s.rest, tail)
	s.rest = reuse(s.rest, keepRest)
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
