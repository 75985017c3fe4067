// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
)

// maxLog is the number of bytes that are read from the end of a log, and maxMessage the maximum
// length of an error message in bytes.
const (
	maxLog     = 64 << 10
	maxMessage = 4 << 10
)

// memoryLog is the log file of one command.
type memoryLog struct{ memFile }

func newLog() (memoryLog, error) {
	file, err := newMemFile("oci-runtime-log")
	return memoryLog{file}, err
}

// tail returns the end of the log.
func (l memoryLog) tail() []byte {
	info, err := l.Stat()
	if err != nil {
		return nil
	}
	start := max(0, info.Size()-maxLog)
	data, err := io.ReadAll(io.NewSectionReader(l, start, maxLog))
	if err != nil {
		return nil
	}
	return data
}

// appendLog appends the log of a command to the file in the bundle, for users and their tools. A
// full file is truncated first, because a probe can fail for as long as the node runs.
func appendLog(path string, logged []byte) {
	if path == "" || len(logged) == 0 {
		return
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Lstat(path); err == nil && info.Size() >= maxLog {
		flags |= os.O_TRUNC
	}
	// Best effort: the error of the command has the message, too.
	if f, err := os.OpenFile(path, flags, 0o600); err == nil {
		_, _ = f.Write(logged)
		_ = f.Close()
	}
}

// lastError returns the message of the last log entry of level error, or "".
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
