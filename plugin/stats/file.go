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

// collect sets those lines "key value" of a file that are wanted.
func (d dir) collect(name string, want map[string]*num) {
	for line := range bytes.Lines(d.content(name)) {
		key, text, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if wanted, ok := want[string(key)]; ok {
			*wanted = parseNumber(text)
		}
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
