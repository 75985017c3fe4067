// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// record is a record as the kubelet's log reader (pkg/kubelet/kuberuntime/logs) splits it: time,
// stream, colon-separated tags, content.
type record struct {
	stream  string
	partial bool
	content string
}

func parseRecord(line []byte) (record, error) {
	stamp, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return record{}, fmt.Errorf("no time in %q", line)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", string(stamp)); err != nil {
		return record{}, err
	}
	stream, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || (string(stream) != "stdout" && string(stream) != "stderr") {
		return record{}, fmt.Errorf("no stream in %q", line)
	}
	tags, content, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return record{}, fmt.Errorf("no tag in %q", line)
	}
	tag, _, _ := strings.Cut(string(tags), ":")
	if tag != "F" && tag != "P" {
		return record{}, fmt.Errorf("unknown tag %q in %q", tag, line)
	}
	return record{string(stream), tag == "P", string(content)}, nil
}

func readRecords(t *testing.T, path string) []record {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var records []record
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return records
		}
		if err != nil {
			t.Fatalf("%s ends within a record: %q", path, line)
		}
		rec, err := parseRecord(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
}

// streamOf reassembles the output of one stream, as kubectl logs does.
func streamOf(records []record, stream string) string {
	var b strings.Builder
	for _, r := range records {
		if r.stream != stream {
			continue
		}
		b.WriteString(r.content)
		if !r.partial {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
