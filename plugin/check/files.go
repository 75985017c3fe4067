// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// maxFile is the length in bytes of the longest file that is read.
const maxFile = 1 << 20

// readFile reads a regular file. A path can be chosen by a process on the node: a pipe must not
// block the checks, and a device must not fill the memory.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, errdefs.ErrFailedPrecondition)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes: %w", path, maxFile, errdefs.ErrFailedPrecondition)
	}
	return data, err
}

func (n Node) path(name string) string { return filepath.Join(n.Root, name) }

// read returns the content of a file of the node without white space at its ends, or "".
func (n Node) read(name string) string {
	data, err := readFile(n.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// number returns the number in a file of the node, or 0.
func (n Node) number(name string) int { return atoi(n.read(name)) }

// atoi returns 0 for a text that is no number.
func atoi(text string) int {
	value, _ := strconv.Atoi(text)
	return value
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// hostProcesses returns the directories in /proc and the names of the processes that are in no
// container: an image chooses the names and the arguments of its processes. They have the mount
// namespace of this process.
func (n Node) hostProcesses() iter.Seq2[string, string] {
	return func(yield func(dir, name string) bool) {
		own, _ := os.Readlink(n.path("proc/self/ns/mnt")) // only a test has none
		files, err := filepath.Glob(n.path("proc/[0-9]*/comm"))
		if err != nil {
			return // the pattern is fixed
		}
		for _, file := range files {
			dir := filepath.Dir(file)
			data, err := readFile(file)
			if theirs, _ := os.Readlink(filepath.Join(dir, "ns", "mnt")); err != nil || theirs != own {
				continue
			}
			if !yield(dir, strings.TrimSpace(string(data))) {
				return
			}
		}
	}
}
