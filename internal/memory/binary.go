// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseBinary returns the pages of the executable to the system. Most of them are needed only at
// startup. The kernel keeps them in the page cache, where it can reclaim them, and maps again the
// ones that are used. It does nothing if /proc cannot be read.
func ReleaseBinary() {
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer smaps.Close()
	for _, m := range unmodified(smaps, binary) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unmodified returns the read-only mappings of a file that have no modified page; relocations
// modify pages, see proc_pid_smaps(5). It allocates little, because it runs to reduce memory.
func unmodified(smaps io.Reader, file string) []mapping {
	var found []mapping
	var m mapping
	readOnly := false
	end := []byte(" " + file)
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		switch line := lines.Bytes(); {
		case bytes.HasPrefix(line, []byte("Anonymous:")):
			if readOnly && bytes.HasSuffix(line, []byte(" 0 kB")) {
				found = append(found, m)
			}
		case bytes.HasSuffix(line, end):
			m, readOnly = parseMapping(lines.Text())
		case len(line) > 0 && (line[0] < 'A' || line[0] > 'Z'):
			readOnly = false // a mapping of another file
		}
	}
	return found
}

// parseMapping reads the first line of a mapping and reports whether the mapping is read-only.
func parseMapping(line string) (m mapping, readOnly bool) {
	addresses, rest, _ := strings.Cut(line, " ")
	first, last, _ := strings.Cut(addresses, "-")
	start, errStart := strconv.ParseUint(first, 16, 64)
	end, errEnd := strconv.ParseUint(last, 16, 64)
	valid := errStart == nil && errEnd == nil && len(rest) > 1
	return mapping{uintptr(start), uintptr(end)}, valid && rest[1] == '-'
}
