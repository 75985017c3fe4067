// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines is the number of lines that the container of logRotation writes, in bursts, over several
// rotations.
const lines = 3000

func logRotation(t *testing.T, n *node) {
	p := n.run(t, id(t), fmt.Sprintf(`
volumes: [{name: work, hostPath: {path: $DIR}}]
containers:
- name: main
  command: [sh, -c, "i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; [ $((i %% 50)) != 0 ] || sleep 0.15; done; touch /work/done; exec sleep 1000"]
  volumeMounts: [{name: work, mountPath: /work}]
`, lines))
	now := p.running()
	log := n.Path("kubelet", "logs", "default_"+p.name+"_"+string(now.UID), "main", "0.log")
	p.file("done")
	var want []string
	for i := range lines {
		want = append(want, fmt.Sprintf("line %d", i+1))
	}
	var files []string
	diff := ""
	// The kubelet may rotate and compress the log once more after the last line.
	if err := n.until(t.Context(), func() error {
		var got []string
		var err error
		if files, got, err = rotated(log); err != nil {
			return err
		}
		if diff = cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%d lines, want %d", len(got), lines)
		}
		return nil
	}); err != nil {
		t.Errorf("%v: -want +got:\n%s", err, diff)
	}
	if len(files) < 3 {
		t.Errorf("rotated logs: %q, want at least three", files)
	}
}

// rotated returns the files of a container's log, oldest first, and their lines.
func rotated(log string) (files, lines []string, err error) {
	if files, err = filepath.Glob(log + ".*"); err != nil {
		return nil, nil, err
	}
	slices.Sort(files)
	files = append(files, log)
	for _, file := range files {
		text, err := readLog(file)
		if err != nil {
			return nil, nil, err
		}
		for line := range strings.Lines(text) {
			// time, stream, tag, text
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
			if len(fields) != 4 || fields[1] != "stdout" || fields[2] != "F" {
				return nil, nil, fmt.Errorf("%s: line %q is not in the CRI log format", file, line)
			}
			lines = append(lines, fields[3])
		}
	}
	return files, lines, nil
}

func readLog(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var content io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if content, err = gzip.NewReader(file); err != nil {
			return "", err
		}
	}
	text, err := io.ReadAll(content)
	return string(text), err
}
