// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFile is the number of bytes that are read of a file. Most files have less than 2 KiB; the
// lists of processes and interfaces of a pod have no limit of their own.
const maxFile = 64 << 10

// endRead is the number of bytes below which a read is considered the last: the kernel generates
// these files a page at a time, from lines that are far shorter.
const endRead = 2048

// buffers are shared by all calls of a Reader: a list reads ten files for each container.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([maxFile]byte) }}}
}

// dir reads files of one directory into one buffer, one after the other.
type dir struct {
	fd   int    // of an open directory, or AT_FDCWD
	path string // prefix of file names
	buf  *[maxFile]byte
}

// withPath calls read with a directory that is not opened, because opening it costs as much as
// reading a file. If path is empty, read is not called.
func (b *buffers) withPath(path string, read func(d dir)) {
	if path == "" {
		return
	}
	buf := b.pool.Get().(*[maxFile]byte)
	defer b.pool.Put(buf)
	read(dir{unix.AT_FDCWD, path + "/", buf})
}

// withOpenDir calls read with an open directory. It is for directories with many files to read, and
// for those that may be replaced during the reads. If the directory is missing, read is not called.
func (b *buffers) withOpenDir(path string, read func(d dir)) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return
	}
	defer unix.Close(fd)
	buf := b.pool.Get().(*[maxFile]byte)
	defer b.pool.Put(buf)
	read(dir{fd, "", buf})
}

// read returns the content of a file, which is valid until the next call. It returns false if the
// file cannot be read: the kernel does not have it, or the cgroup was removed.
func (d dir) read(name string) ([]byte, bool) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(d.fd, d.path+name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
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
		n += more
		if more < endRead {
			break
		}
	}
	return bytes.TrimSpace(d.buf[:n]), true
}

// content returns the content of a file, empty if it cannot be read; see [dir.read].
func (d dir) content(name string) []byte {
	content, _ := d.read(name)
	return content
}

// number returns the number in a file. "max" is the largest number.
func (d dir) number(name string) num {
	return parseNumber(d.content(name))
}

// collect reads a file of lines "key value". place returns where the value of a key is stored, or
// nil if the key is not wanted.
func (d dir) collect(name string, place func(key []byte) *num) {
	for line := range bytes.Lines(d.content(name)) {
		key, text, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if wanted := place(key); wanted != nil {
			*wanted = parseNumber(text)
		}
	}
}

// onlyKey is the place function for a file of which one key is wanted.
func onlyKey(key string, n *num) func([]byte) *num {
	return func(got []byte) *num {
		if string(got) == key {
			return n
		}
		return nil
	}
}

func parseNumber(text []byte) num {
	if string(text) == "max" {
		return value(math.MaxUint64)
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return nil
	}
	return value(n)
}

// parseDevice parses the number of a block device, such as "8:0".
func parseDevice(text []byte) (major, minor uint64, ok bool) {
	before, after, ok := bytes.Cut(text, []byte{':'})
	a, b := parseNumber(before), parseNumber(after)
	return a.GetValue(), b.GetValue(), ok && a != nil && b != nil
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
