// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// logBytes is how much a container writes for the measurement of the log path.
const logBytes = 256 << 20

// lineSizes are the lengths of the lines, in bytes.
var lineSizes = [...]int{80, 1000}

// logs measures each line length.
func logs(ctx context.Context, s *session) error {
	for _, size := range lineSizes {
		if err := measureLog(ctx, s, size); err != nil {
			return err
		}
	}
	return nil
}

// measureLog has a container copy a prepared file of lines to its output, and checks that each line
// is in the log, complete and in order.
func measureLog(ctx context.Context, s *session, lineSize int) error {
	lines := s.bench.Path("lines")
	count, err := writeLines(lines, lineSize)
	if err != nil {
		return err
	}
	config := s.bench.PodConfig(fmt.Sprint("log-", lineSize))
	pod, err := s.client.RunPod(ctx, config)
	if err != nil {
		return err
	}
	c := harness.ContainerConfig(config, "main", image.Busybox, "cat", "/lines")
	c.Mounts = []*runtimeapi.Mount{{HostPath: lines, ContainerPath: "/lines", Readonly: true}}
	before, err := runtimeCPU(s.bench)
	if err != nil {
		return err
	}
	id, err := s.client.Run(ctx, pod, config, c)
	if err != nil {
		return err
	}
	status, err := s.client.AwaitState(ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		return err
	}
	if err := checkLines(status.LogPath, count, lineSize); err != nil {
		return err
	}
	after, err := runtimeCPU(s.bench)
	if err != nil {
		return err
	}
	info, err := os.Stat(status.LogPath)
	if err != nil {
		return err
	}
	took := info.ModTime().Sub(time.Unix(0, status.StartedAt))
	bytes := float64(count * lineSize)
	s.record(fmt.Sprintf("log, lines of %d bytes", lineSize), "MiB/s", bytes/(1<<20)/took.Seconds())
	s.record(fmt.Sprintf("log, CPU per GiB, lines of %d bytes", lineSize), "s", (after-before).Seconds()/(bytes/(1<<30)))
	return s.client.RemovePod(ctx, pod)
}

// writeLines creates a file of numbered lines, each lineSize bytes including the newline.
func writeLines(path string, lineSize int) (count int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	filler := strings.Repeat("x", lineSize)
	count = logBytes / lineSize
	for i := range count {
		line := fmt.Sprintf("%010d ", i) + filler
		if _, err = w.WriteString(line[:lineSize-1] + "\n"); err != nil {
			break
		}
	}
	return count, errors.Join(err, w.Flush(), f.Close())
}

// checkLines returns an error for a line that is lost, duplicated or torn.
func checkLines(path string, count, lineSize int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(make([]byte, 1<<20), 1<<20)
	next := 0
	for ; scanner.Scan(); next++ {
		fields := bytes.SplitN(scanner.Bytes(), []byte{' '}, 5)
		if len(fields) != 5 || string(fields[2]) != "F" {
			return fmt.Errorf("log: line %d is torn: %.80q", next, scanner.Bytes())
		}
		if n, err := strconv.Atoi(string(fields[3])); err != nil || n != next {
			return fmt.Errorf("log: got line %d, want %d", n, next)
		}
		if got := len(fields[3]) + 1 + len(fields[4]) + 1; got != lineSize {
			return fmt.Errorf("log: line %d has %d bytes, want %d", next, got, lineSize)
		}
	}
	if next != count {
		return fmt.Errorf("log: %d lines, want %d", next, count)
	}
	return scanner.Err()
}
