// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testOptions(t *testing.T) Options {
	dir := t.TempDir()
	return Options{ID: "c1", Dir: filepath.Join(dir, "io"), Log: containerlog.Destination{Dir: filepath.Join(dir, "logs"), Name: "web/0.log"}}
}

// shim holds both ends of the output pipes, as shims do: the end of one reader or writer does not
// end the pipe.
type shim struct{ stdout, stderr, stdin *os.File }

func startShim(t *testing.T, s Streams) shim {
	t.Helper()
	io, err := s.Creator()("c1")
	if err != nil {
		t.Fatal(err)
	}
	open := func(path string) *os.File {
		if path == "" {
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	c := io.Config()
	return shim{stdout: open(c.Stdout), stderr: open(c.Stderr), stdin: open(c.Stdin)}
}

func (s shim) close() {
	s.stdout.Close()
	s.stderr.Close()
}

// makeDaemonWritten opens the streams of a container with a daemon-written log.
func makeDaemonWritten(t *testing.T, o Options) *daemonWritten {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*daemonWritten)
}

// logged returns the stream, tag and content of each record of the log.
func logged(t *testing.T, o Options) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.Log.Dir, o.Log.Name))
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

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestOutputIsLogged(t *testing.T) {
	o := testOptions(t)
	s := makeDaemonWritten(t, o)
	shim := startShim(t, s)
	s.Connect()
	write(t, shim.stdout, "hello\nwor")
	write(t, shim.stdout, "ld\nend")
	shim.close()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"stdout F hello", "stdout F world", "stdout P end"}, logged(t, o)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pipes are left: %v", err)
	}
}

// Output that the container writes while no daemon is running waits in the pipe.
func TestOutputWaitsForTheDaemon(t *testing.T) {
	o := testOptions(t)
	first := makeDaemonWritten(t, o)
	shim := startShim(t, first)
	first.Connect()
	write(t, shim.stdout, "before\n")
	for len(logged(t, o)) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("nothing is logged")
		}
	}
	first.Release() // the daemon ends
	write(t, shim.stdout, "between\n")

	second, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	write(t, shim.stderr, "after\n")
	shim.close()
	if err := second.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := logged(t, o)
	if len(got) != 3 || got[0] != "stdout F before" {
		t.Fatalf("log = %q", got)
	}
	for _, want := range []string{"stdout F between", "stderr F after"} {
		if got[1] != want && got[2] != want {
			t.Errorf("log = %q lacks %q", got, want)
		}
	}
}

// A container that exited while no daemon was running has no output to wait for.
func TestLoadWithoutShim(t *testing.T) {
	o := testOptions(t)
	first := makeDaemonWritten(t, o)
	first.Release()
	second, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	s, err := Open(testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	startShim(t, s)
	s.Connect()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %v", err)
	}
}

func TestAttach(t *testing.T) {
	o := testOptions(t)
	o.Stdin, o.StdinOnce = true, true
	s := makeDaemonWritten(t, o)
	defer s.Close()
	shim := startShim(t, s)
	s.Connect()

	var out, errOut bytes.Buffer
	closed := make(chan struct{})
	attached := make(chan error)
	go func() {
		attached <- s.Attach(t.Context(), AttachOptions{
			Stdin: strings.NewReader("question\n"), Stdout: &out, Stderr: &errOut,
			CloseStdin: func() { close(closed) },
		})
	}()
	<-closed // the client's stdin has ended, and with it the container's
	question := make([]byte, 9)
	if _, err := io.ReadFull(shim.stdin, question); err != nil || string(question) != "question\n" {
		t.Errorf("stdin = %q, %v", question, err)
	}
	write(t, shim.stdout, "answer\n")
	write(t, shim.stderr, "problem\n")
	shim.close()
	if err := <-attached; err != nil {
		t.Error(err)
	}
	if out.String() != "answer\n" || errOut.String() != "problem\n" {
		t.Errorf("client got %q and %q", &out, &errOut)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := logged(t, o); len(got) != 2 {
		t.Errorf("log = %q", got)
	}
}

func TestClientIsDetachedWithItsStdin(t *testing.T) {
	o := testOptions(t)
	o.Stdin = true
	s := makeDaemonWritten(t, o)
	defer s.Close()
	startShim(t, s)
	s.Connect()
	if err := s.Attach(t.Context(), AttachOptions{Stdin: strings.NewReader("x"), Stdout: io.Discard}); err != nil {
		t.Error(err)
	}
	select {
	case <-s.outputs[0].done:
		t.Error("the container's output ended with the client")
	default:
	}
}

func TestReopenLog(t *testing.T) {
	o := testOptions(t)
	s := makeDaemonWritten(t, o)
	defer s.Close()
	shim := startShim(t, s)
	s.Connect()
	path := filepath.Join(o.Log.Dir, o.Log.Name)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.ReopenLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, shim.stdout, "new\n")
	shim.close()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"stdout F new"}, logged(t, o)); diff != "" {
		t.Errorf("new log (-want +got):\n%s", diff)
	}
}

func TestOpenFailureLeavesNothing(t *testing.T) {
	o := testOptions(t)
	o.Log.Name = "../outside.log"
	if _, err := Open(o); err == nil {
		t.Fatal("a log outside of the log directory is opened")
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pipes are left: %v", err)
	}
}
