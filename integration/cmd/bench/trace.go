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

// tracedPods is the number of pods over which process starts and disk syncs are averaged: deferred
// work of containerd, such as garbage collection, serves several pods.
const tracedPods = 5

// countLife counts the programs that the life of a pod starts and the disk syncs that it waits for.
// It measures no time.
func countLife(ctx context.Context, s *session) error {
	config := s.bench.PodConfig("pod")
	if err := (&podLife{client: s.client, config: config}).run(ctx); err != nil {
		return err
	}
	// Deferred work of the first pod must not be counted.
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
	s.recordKinds("process starts: ", "starts", programs)
	s.recordKinds("disk syncs: ", "syncs", syncs)
	return nil
}

// recordKinds records each kind of a count.
func (s *session) recordKinds(row, unit string, counts map[string]int) {
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		s.record(row+kind, unit, float64(counts[kind])/tracedPods)
	}
}

// countTrace counts the programs that were started and the files that were synced in the output of
// strace.
func countTrace(trace io.Reader) (programs, syncs map[string]int, err error) {
	programs, syncs = map[string]int{}, map[string]int{}
	scanner := bufio.NewScanner(trace)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		// Example: 4711 execve("/usr/bin/runc", ["runc", "start"], 0x7ff /* 35 vars */) = 0
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

// program returns the name of the program that an execve starts; for runc and shims, with the
// subcommand.
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

// synced returns the name of the file of an fsync or fdatasync if it is a database of containerd,
// and "other files" otherwise.
func synced(call string) string {
	_, path, _ := strings.Cut(call, "<")
	path, _, _ = strings.Cut(path, ">")
	if name := filepath.Base(path); strings.HasSuffix(name, ".db") {
		return name
	}
	return "other files"
}
