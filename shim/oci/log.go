// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
)

// maxLog is how much of the end of a log is read, and maxMessage how much of
// a message is passed on, in bytes.
const (
	maxLog     = 64 << 10
	maxMessage = 4 << 10
)

// memoryLog is the log file of one command.
type memoryLog struct{ memory }

func newLog() (memoryLog, error) {
	file, err := newMemory("oci-runtime-log")
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

// keep adds what a command logged to a file for users and their tools. The file is bounded, as a
// probe can fail for as long as a node runs: a full one begins again.
func keep(path string, logged []byte) {
	if path == "" || len(logged) == 0 {
		return
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Lstat(path); err == nil && info.Size() >= maxLog {
		flags |= os.O_TRUNC
	}
	// What cannot be kept is missing here only: the error has its message.
	if f, err := os.OpenFile(path, flags, 0o600); err == nil {
		_, _ = f.Write(logged)
		_ = f.Close()
	}
}

// lastError returns the message of the last entry of level error, or "".
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
