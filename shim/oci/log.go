// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLog is how much of the end of a log is read, and maxMessage how much of
// a message is passed on, in bytes.
const (
	maxLog     = 64 << 10
	maxMessage = 4 << 10
)

// memoryLog is a log file of one command that needs no removing.
type memoryLog struct {
	*os.File
}

func newLog() (memoryLog, error) {
	fd, err := unix.MemfdCreate("oci-runtime-log", unix.MFD_CLOEXEC)
	if err != nil {
		return memoryLog{}, fmt.Errorf("OCI runtime log: %w", err)
	}
	return memoryLog{os.NewFile(uintptr(fd), "oci-runtime-log")}, nil
}

// path is valid in other processes while the log is open.
func (l memoryLog) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.Fd())
}

// lastError returns the message of the last entry of level error, or "".
func (l memoryLog) lastError() string {
	info, err := l.Stat()
	if err != nil {
		return ""
	}
	start := max(0, info.Size()-maxLog)
	data, err := io.ReadAll(io.NewSectionReader(l, start, maxLog))
	if err != nil {
		return ""
	}
	return lastError(data)
}

func lastError(data []byte) string {
	var last string
	for line := range bytes.Lines(data) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			last = strings.TrimSpace(entry.Msg)
		}
	}
	return last[:min(len(last), maxMessage)]
}
