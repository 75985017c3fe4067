// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

// logTo returns a configuration whose output goes to the log at path.
func logTo(path string) Config {
	uri := containerlog.Destination{Dir: filepath.Dir(path), Name: filepath.Base(path)}.URI()
	return Config{Stdout: uri, Stderr: uri}
}

// logged returns the stream, tag and content of each record.
func logged(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []string
	for line := range strings.Lines(string(data)) {
		_, record, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		records = append(records, record)
	}
	return records
}

func (p *process) exited() {
	p.t.Helper()
	<-p.child.Done()
	p.streams.Exited()
}

// TestLogIsCompleteAtTheEnd checks that the log is complete when Logged returns, without containerd
// or another log writer.
func TestLogIsCompleteAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	p := run(t, logTo(path), "echo out; echo err >&2; printf end")
	p.exited()
	p.streams.Logged()
	got := strings.Join(logged(t, path), "\n")
	for _, want := range []string{"stdout F out", "stderr F err", "stdout P end"} {
		if !strings.Contains(got, want) {
			t.Errorf("no record %q in\n%s", want, got)
		}
	}
	p.streams.Finish()
}

func TestLogOfATerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	master, peer := terminalPair(t)
	s := New(Config{Terminal: true, Stdout: logTo(path).Stdout})
	if err := s.Open(t.Context(), Owner{}, newReaper(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(master); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(peer, "out")
	_ = peer.Close()
	s.Exited()
	s.Logged()
	if got := logged(t, path); len(got) != 1 || got[0] != "stdout F out\r" {
		t.Errorf("log has %q", got)
	}
	s.Finish()
}

// TestExitDoesNotWaitForHeldOutput checks that Logged returns although a process outside of the
// container holds the output open.
func TestExitDoesNotWaitForHeldOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	p := run(t, logTo(path), "echo early; sleep 1000 & echo $!")
	p.exited()
	p.streams.Logged()
	p.streams.Finish()
	records := logged(t, path)
	if len(records) != 2 || records[0] != "stdout F early" {
		t.Fatalf("log has %v", records)
	}
	var pid int
	if _, err := fmt.Sscan(strings.TrimPrefix(records[1], "stdout F "), &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

// TestReopenLogWhileItIsWritten checks that rotation during writes neither loses nor repeats a
// line.
func TestReopenLogWhileItIsWritten(t *testing.T) {
	const lines, rotations = 20000, 50
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	p := run(t, logTo(path), fmt.Sprintf("seq %d", lines))
	for i := range rotations {
		if err := os.Rename(path, fmt.Sprintf("%s.%03d", path, i)); err != nil {
			t.Fatal(err)
		}
		if err := p.streams.ReopenLog(); err != nil {
			t.Fatal(err)
		}
	}
	p.exited()
	p.streams.Logged()
	p.streams.Finish()
	files, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	next := 1
	for _, file := range append(files, path) {
		for _, record := range logged(t, file) {
			if want := fmt.Sprintf("stdout F %d", next); record != want {
				t.Fatalf("%s: record %q, want %q", file, record, want)
			}
			next++
		}
	}
	if next != lines+1 {
		t.Errorf("%d lines, want %d", next-1, lines)
	}
}

func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	source, unused := fifo(t)
	_ = unused.Close()
	p := run(t, Config{Stdin: source, Stdout: logTo(path).Stdout, Stderr: logTo(path).Stderr}, "cat; echo err >&2")
	var out, errOut bytes.Buffer
	ends := make(chan error, 2)
	ready := make(chan struct{}, 2)
	for name, into := range map[string]*bytes.Buffer{containerlog.Stdout: &out, containerlog.Stderr: &errOut} {
		go func() {
			ends <- p.streams.Follow(t.Context(), name, func(chunk []byte) error {
				if chunk == nil {
					ready <- struct{}{}
				}
				into.Write(chunk)
				return nil
			})
		}()
	}
	<-ready
	<-ready
	w, err := os.OpenFile(source, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "hello\n")
	_ = w.Close()
	p.streams.CloseStdin()
	p.exited()
	p.streams.Logged()
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if out.String() != "hello\n" || errOut.String() != "err\n" {
		t.Errorf("followed %q and %q", out.String(), errOut.String())
	}
	p.streams.Finish()
}

func TestFollowEnds(t *testing.T) {
	p := run(t, logTo(filepath.Join(t.TempDir(), "0.log")), "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	err := p.streams.Follow(ctx, containerlog.Stdout, func([]byte) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v, want the error of the context", err)
	}
	_ = p.child.Signal(unix.SIGKILL)
	p.finish()
}

func TestLogOfAnotherWriter(t *testing.T) {
	path, _ := fifo(t)
	p := run(t, Config{Stdout: path}, "true")
	p.exited()
	if err := p.streams.ReopenLog(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("ReopenLog = %v", err)
	}
	if err := p.streams.Follow(t.Context(), containerlog.Stdout, nil); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Follow = %v", err)
	}
	p.streams.Finish()
}

func TestBadLog(t *testing.T) {
	dir := t.TempDir()
	for name, uri := range map[string]string{
		"no form":  "cri-log:nothing",
		"outside":  containerlog.Destination{Dir: dir, Name: "../x.log"}.URI(),
		"a device": containerlog.Destination{Dir: "/dev", Name: "null"}.URI(),
	} {
		s := New(Config{Stdout: uri, Stderr: uri})
		err := s.Open(t.Context(), Owner{ID: "web"}, newReaper(t))
		if !errdefs.IsInvalidArgument(err) && !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Close()
	}
}
