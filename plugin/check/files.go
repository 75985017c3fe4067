// SPDX-License-Identifier: Apache-2.0

package check

import (
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/regular"
)

// maxFile is the length in bytes of the longest file that is read.
const maxFile = 1 << 20

func (n Node) path(name string) string { return filepath.Join(n.Root, name) }

// read returns the content of a file of the node without white space at its ends, or "".
func (n Node) read(name string) string {
	data, err := regular.Read(n.path(name), maxFile)
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

// HostProcesses returns the directories in /proc, below root, and the names of the processes that
// are in no container: an image chooses the names and the arguments of its processes. They are
// root's, and have the mount namespace of this process.
func HostProcesses(root string) iter.Seq2[string, string] {
	return func(yield func(dir, name string) bool) {
		own, _ := os.Readlink(filepath.Join(root, "proc/self/ns/mnt")) // only a test has none
		files, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*/comm"))
		if err != nil {
			return // the pattern is fixed
		}
		for _, file := range files {
			dir := filepath.Dir(file)
			if !isRoots(dir) {
				continue
			}
			data, err := regular.Read(file, maxFile)
			if theirs, _ := os.Readlink(filepath.Join(dir, "ns", "mnt")); err != nil || theirs != own {
				continue
			}
			if !yield(dir, strings.TrimSpace(string(data))) {
				return
			}
		}
	}
}

// isRoots reports whether a file, such as the directory of a process, belongs to the user of this
// process, which is root except in tests.
func isRoots(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && int(st.Uid) == os.Geteuid()
}
