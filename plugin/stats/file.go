// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"errors"
	"iter"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of a file, in bytes. The longest, memory.stat, has
// about 2 KiB; the interfaces of a pod can be more than anybody wants to see.
const maxFile = 16 << 10

// buffers are shared by all readers: a list reads ten files for each container.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([maxFile]byte) }}}
}

// dir reads files of one directory into one buffer, one after the other.
type dir struct {
	fd  int
	buf *[maxFile]byte
}

// in runs read on a directory. If it is not there, all of its files are missing.
func (b *buffers) in(path string, read func(d dir)) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return
	}
	defer unix.Close(fd)
	buf := b.pool.Get().(*[maxFile]byte)
	defer b.pool.Put(buf)
	read(dir{fd, buf})
}

// read returns the content of a file, valid until the next call; false if it
// cannot be read: the kernel has no such file, or the cgroup went away.
func (d dir) read(name string) ([]byte, bool) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	n := 0
	for n < len(d.buf) {
		more, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, d.buf[n:]) })
		if err != nil {
			return nil, false
		}
		if more == 0 {
			break
		}
		n += more
	}
	return bytes.TrimSpace(d.buf[:n]), true
}

// number returns the number that a file contains; false for "max", too.
func (d dir) number(name string) (uint64, bool) {
	content, ok := d.read(name)
	if !ok {
		return 0, false
	}
	return number(content)
}

// fields are the lines "key value" of a file.
func fields(content []byte) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for line := range bytes.Lines(content) {
			key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
			if n, ok := number(value); ok && !yield(string(key), n) {
				return
			}
		}
	}
}

func number(text []byte) (uint64, bool) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	return n, err == nil
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
