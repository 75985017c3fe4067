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

// maxFile bounds what is read of a file, in bytes. Most have less than 2 KiB; the
// processes and interfaces of a pod can be more than anybody wants to see.
const maxFile = 64 << 10

// endRead is the length, in bytes, below which a read was the last: the kernel
// makes these files up a page at a time, of lines that are far shorter.
const endRead = 2048

// buffers are shared by all readers: a list reads ten files for each container.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([maxFile]byte) }}}
}

// dir reads files of one directory into one buffer, one after the other.
type dir struct {
	fd   int    // of an open directory
	path string // what names in it begin with
	buf  *[maxFile]byte
}

// below runs read on a directory that is not opened for it: to open one costs as
// much as to read a file. If path is empty, all of its files are missing.
func (b *buffers) below(path string, read func(d dir)) {
	if path == "" {
		return
	}
	buf := b.pool.Get().(*[maxFile]byte)
	defer b.pool.Put(buf)
	read(dir{unix.AT_FDCWD, path + "/", buf})
}

// in runs read on a directory that stays the same while it is read, whatever gets
// its name, or that has many files to read. If it is not there, all of its files
// are missing.
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
	read(dir{fd, "", buf})
}

// read returns the content of a file, valid until the next call; false if it
// cannot be read: the kernel has no such file, or the cgroup went away.
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

// content is [dir.read] for a file of lines: empty if it cannot be read.
func (d dir) content(name string) []byte {
	content, _ := d.read(name)
	return content
}

// number returns the number that a file contains, the largest one for "max".
func (d dir) number(name string) num {
	return parseNumber(d.content(name))
}

// collect sets those lines "key value" of a file that are wanted: place tells where
// the value of a key goes, nil for nowhere.
func (d dir) collect(name string, place func(key []byte) *num) {
	for line := range bytes.Lines(d.content(name)) {
		key, text, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if wanted := place(key); wanted != nil {
			*wanted = parseNumber(text)
		}
	}
}

// only is the place of a file of which one line is wanted.
func only(key string, n *num) func([]byte) *num {
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

// parseDevice reads the number of a block device, "8:0".
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
