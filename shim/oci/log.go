// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"io"
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
