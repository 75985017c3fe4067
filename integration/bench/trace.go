// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tracedPods is over how many pods the process starts and disk syncs are averaged: what containerd
// does later, such as to collect garbage, is shared by several.
const tracedPods = 5

// countLife counts the programs that a pod's life starts and the times that it waits for the disk.
// It is no timing.
func countLife(ctx context.Context, s *session) error {
	config := s.bench.PodConfig("pod")
	if err := (&podLife{client: s.client, config: config}).run(ctx); err != nil {
		return err
	}
	// What the first pod left to do is done then.
	if err := s.bench.CheckLeaks(ctx); err != nil {
		return err
	}
	trace, err := os.Open(s.bench.Daemon.TraceFile())
	if err != nil {
		return err
	}
	defer trace.Close()
	if _, err := trace.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	for range tracedPods {
		if err := (&podLife{client: s.client, config: config}).run(ctx); err != nil {
			return err
		}
	}
	if err := s.bench.CheckLeaks(ctx); err != nil {
		return err
	}
	programs, syncs, err := countTrace(trace)
	if err != nil {
		return err
	}
	s.recordCounts("process starts of a pod's life", "starts", programs)
	s.recordCounts("disk syncs of a pod's life", "syncs", syncs)
	return nil
}

// recordCounts records the sum and each kind.
func (s *session) recordCounts(row, unit string, counts map[string]int) {
	sum := 0
	for _, count := range counts {
		sum += count
	}
	s.record(row, unit, float64(sum)/tracedPods)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		s.record(row+": "+kind, unit, float64(counts[kind])/tracedPods)
	}
}

// countTrace counts the programs that were started and the files that were synced, in what strace
// wrote.
func countTrace(trace io.Reader) (programs, syncs map[string]int, err error) {
	programs, syncs = map[string]int{}, map[string]int{}
	scanner := bufio.NewScanner(trace)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		// 4711 execve("/usr/bin/runc", ["runc", "start"], 0x7ff /* 35 vars */) = 0
		_, call, _ := strings.Cut(scanner.Text(), " ")
		call = strings.TrimSpace(call)
		switch {
		case strings.HasPrefix(call, "execve(") && !strings.Contains(call, ") = -1 "):
			programs[program(call)]++
		case strings.HasPrefix(call, "fdatasync("), strings.HasPrefix(call, "fsync("):
			syncs[synced(call)]++
		}
	}
	return programs, syncs, scanner.Err()
}

// program names what an execve starts: runc and shims with their command, of which they have many.
func program(execve string) string {
	_, list, _ := strings.Cut(execve, "[")
	list, _, _ = strings.Cut(list, "]")
	var args []string
	for _, arg := range strings.Split(list, ", ") {
		args = append(args, strings.Trim(arg, `"`))
	}
	name := filepath.Base(args[0])
	commands := []string{"create", "start", "kill", "delete", "init", "exec", "state", "ps", "features"}
	if name != "runc" && !strings.HasPrefix(name, "containerd-shim") {
		return name
	}
	for _, arg := range args[1:] {
		if slices.Contains(commands, arg) {
			return name + " " + arg
		}
	}
	return name
}

// synced names the file of an fsync or fdatasync: containerd's databases, or any other.
func synced(call string) string {
	_, path, _ := strings.Cut(call, "<")
	path, _, _ = strings.Cut(path, ">")
	if name := filepath.Base(path); strings.HasSuffix(name, ".db") {
		return name
	}
	return "other files"
}
