// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/reap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newReaper(t *testing.T) *reap.Reaper {
	t.Helper()
	r := reap.New()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

func fifo(t *testing.T) (path string, reader *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	return path, reader
}

// process is a command with streams, run as the shim runs a container.
type process struct {
	t       *testing.T
	streams *Streams
	child   *reap.Child
}

func run(t *testing.T, cfg Config, script string) *process {
	t.Helper()
	return runUnder(t, newReaper(t), cfg, script)
}

func runUnder(t *testing.T, children *reap.Reaper, cfg Config, script string) *process {
	t.Helper()
	p := &process{t: t, streams: New(cfg)}
	if err := p.streams.Open(t.Context(), Owner{ID: "web", Namespace: "ns"}, children); err != nil {
		t.Fatal(err)
	}
	p.start(children, script)
	return p
}

// start starts the command after the streams were opened.
func (p *process) start(children *reap.Reaper, script string) {
	p.t.Helper()
	cmd := exec.Command("sh", "-c", script)
	p.streams.Set(cmd)
	var err error
	if p.child, err = children.Start(p.t.Context(), cmd); err != nil {
		p.t.Fatal(err)
	}
	_ = p.streams.CloseAfterStart()
	if err := p.streams.Run(nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) finish() {
	p.t.Helper()
	<-p.child.Done()
	p.streams.Exited()
	p.streams.Finish()
	_ = p.streams.Close() // a second call does nothing
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFIFOs(t *testing.T) {
	out, stdout := fifo(t)
	errPath, stderr := fifo(t)
	p := run(t, Config{Stdout: out, Stderr: "fifo://" + errPath}, "echo one; echo two >&2; cat")
	p.finish() // stdin is /dev/null
	if got := readAll(t, stdout); got != "one\n" {
		t.Errorf("stdout = %q", got)
	}
	if got := readAll(t, stderr); got != "two\n" {
		t.Errorf("stderr = %q", got)
	}
}

func TestNoStreams(t *testing.T) {
	p := run(t, Config{}, "echo lost; echo lost >&2; readlink /proc/$$/fd/1 | grep -q /dev/null")
	p.finish()
	if got := p.child.Exit().Status; got != 0 {
		t.Errorf("status = %d, want 0: stdout is not /dev/null", got)
	}
}

// TestAllOutputIsCopiedAfterAnExit checks that all output is copied even if the process exits at
// once.
func TestAllOutputIsCopiedAfterAnExit(t *testing.T) {
	const size = 3 << 20
	path, reader := fifo(t)
	p := run(t, Config{Stdout: path}, fmt.Sprintf("head -c %d /dev/zero", size))
	got := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, reader)
		got <- n
	}()
	p.finish()
	if n := <-got; n != size {
		t.Errorf("%d bytes arrived, want %d", n, size)
	}
}

// TestContainerEndsOfPipesAreBlocking checks that the container's ends of the pipes are blocking:
// few programs handle EAGAIN.
func TestContainerEndsOfPipesAreBlocking(t *testing.T) {
	in, out, err := newPipe(Owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(in, out)
	cmd := exec.Command("true")
	cmd.Stdin = in
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	flags, err := unix.FcntlInt(in.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags of the container's end = %#x, %v, want blocking", flags, err)
	}
}

func TestStdin(t *testing.T) {
	in, unused := fifo(t)
	_ = unused.Close()
	out, stdout := fifo(t)
	p := run(t, Config{Stdin: in, Stdout: out}, "cat; echo end")
	for _, word := range []string{"one ", "two "} {
		// Clients may come and go: only CloseStdin ends the input.
		w, err := os.OpenFile(in, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, word)
		_ = w.Close()
	}
	got := make([]byte, len("one two "))
	if _, err := io.ReadFull(stdout, got); err != nil {
		t.Fatal(err)
	}
	p.streams.CloseStdin()
	p.finish()
	if rest := readAll(t, stdout); string(got)+rest != "one two end\n" {
		t.Errorf("output = %q", string(got)+rest)
	}
}

// TestProcessWithoutClient has no writer of stdin, and the reader of stdout disconnects.
func TestProcessWithoutClient(t *testing.T) {
	in, unused := fifo(t)
	_ = unused.Close()
	out, reader := fifo(t)
	p := run(t, Config{Stdin: in, Stdout: out}, "read wait; echo lost")
	_ = reader.Close()
	p.streams.CloseStdin()
	p.finish()
}

// TestStartWaitsForAReader checks that a process does not start before its output has a reader.
func TestStartWaitsForAReader(t *testing.T) {
	path, early := fifo(t)
	_ = early.Close()
	late := make(chan *os.File)
	go func() {
		reader, err := os.Open(path) // waits for a writer
		if err != nil {
			t.Error(err)
		}
		late <- reader
	}()
	run(t, Config{Stdout: path}, "echo short").finish()
	reader := <-late
	defer reader.Close()
	if got := readAll(t, reader); got != "short\n" {
		t.Errorf("output = %q", got)
	}
}

func TestOpenWithoutReaderIsCanceled(t *testing.T) {
	path, unused := fifo(t)
	_ = unused.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := New(Config{Stdout: path})
	if err := s.Open(ctx, Owner{}, newReaper(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
	_ = s.Close()
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "log")
	children := newReaper(t)
	for _, word := range []string{"one", "two"} {
		uri := "file://" + path
		runUnder(t, children, Config{Stdout: uri, Stderr: uri}, "echo "+word).finish()
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "one\ntwo\n" {
		t.Errorf("file = %q, %v", data, err)
	}
}

// TestBackgroundProcess checks that Finish ends a stream that a background process still holds
// open.
func TestBackgroundProcess(t *testing.T) {
	path, reader := fifo(t)
	p := run(t, Config{Stdout: path}, "sleep 1000 & echo $!")
	p.finish()
	var pid int
	if _, err := fmt.Sscan(readAll(t, reader), &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestRefusedURIs(t *testing.T) {
	children := newReaper(t)
	for _, uri := range []string{"gopher:///x", "relative/path", "file://host", "binary-v3:///x", "%zz"} {
		s := New(Config{Stdout: uri})
		if err := s.Open(t.Context(), Owner{}, children); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v, want invalid argument", uri, err)
		}
		_ = s.Close()
	}
	s := New(Config{Stdout: "/no/such/fifo"})
	if err := s.Open(t.Context(), Owner{}, children); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing FIFO: %v, want not exist", err)
	}
	_ = s.Close()
}

func logProgram(t *testing.T, script string) (uri, output string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "log.sh")
	output = filepath.Join(dir, "output")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return "binary://" + program + "?to=" + output + "&mode=a%20b", output
}

func TestLogger(t *testing.T) {
	uri, output := logProgram(t, `
exec 5>&-
{ echo "$CONTAINER_ID $CONTAINER_NAMESPACE $1 $3 $4"; cat <&3; cat <&4; } >$2`)
	p := run(t, Config{Stdout: uri, Stderr: uri}, "echo one; echo two >&2")
	p.finish()
	if data, err := os.ReadFile(output); err != nil || string(data) != "web ns to mode a b\none\ntwo\n" {
		t.Errorf("log = %q, %v", data, err)
	}
}

func TestLoggerReady(t *testing.T) {
	children := newReaper(t)
	ready, _ := logProgram(t, "printf x >&5; exec 5>&-; cat <&3 >/dev/null")
	runUnder(t, children, Config{Stdout: strings.Replace(ready, "binary:", "binary-v2:", 1)}, "true").finish()

	broken, _ := logProgram(t, "exit 1")
	for _, uri := range []string{strings.Replace(broken, "binary:", "binary-v2:", 1), "binary:///no/such/program"} {
		s := New(Config{Stdout: uri})
		if err := s.Open(t.Context(), Owner{}, children); err == nil {
			t.Errorf("%s: opened", uri)
		}
		_ = s.Close()
	}
}

// terminalPair returns a pty master, as the runtime sends it, and its peer.
func terminalPair(t *testing.T) (master, peer *os.File) {
	t.Helper()
	c, path, err := console.NewPty()
	if err != nil {
		t.Skipf("cannot create a pty: %v", err)
	}
	defer c.Close()
	fd, err := unix.Dup(int(c.Fd()))
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	peer, err = os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), peer
}

// TestTerminal checks that a terminal keeps working after all processes of the container have
// closed it.
func TestTerminal(t *testing.T) {
	master, peer := terminalPair(t)
	in, unused := fifo(t)
	_ = unused.Close()
	out, stdout := fifo(t)
	s := New(Config{Terminal: true, Stdin: in, Stdout: out})
	if err := s.Open(t.Context(), Owner{}, newReaper(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(master); err != nil {
		t.Fatal(err)
	}
	name := peer.Name()
	for _, word := range []string{"one", "two"} {
		fmt.Fprintln(peer, word)
		_ = peer.Close()
		var err error
		if peer, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Resize(91, 23); err != nil {
		t.Error(err)
	}
	if size, err := unix.IoctlGetWinsize(int(peer.Fd()), unix.TIOCGWINSZ); err != nil || size.Col != 91 || size.Row != 23 {
		t.Errorf("size = %+v, %v", size, err)
	}
	if err := s.Resize(1<<16, 1); !errdefs.IsInvalidArgument(err) {
		t.Errorf("huge size: %v, want invalid argument", err)
	}
	w, err := os.OpenFile(in, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "typed\n")
	_ = w.Close()
	line := make([]byte, len("typed\n"))
	if _, err := io.ReadFull(peer, line); err != nil || !bytes.Equal(line, []byte("typed\n")) {
		t.Errorf("input = %q, %v", line, err)
	}
	_ = peer.Close()
	s.Exited()
	s.Finish()
	if got := readAll(t, stdout); got != "one\r\ntwo\r\ntyped\r\n" {
		t.Errorf("output = %q", got)
	}
}

// TestSilentStreamTakesNoBuffer checks that a stream without data holds no buffer.
func TestSilentStreamTakesNoBuffer(t *testing.T) {
	outside, inside, err := newOutputPipe(Owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	defer inside.Close()
	taken := 0
	buffers = sync.Pool{New: func() any { taken++; return newBuffer() }}
	defer func() { buffers = sync.Pool{New: newBuffer} }()
	p := &pump{src: outside}
	if err := outside.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.read(); !errors.Is(err, os.ErrDeadlineExceeded) || taken != 0 {
		t.Errorf("read = %v, %d buffers taken, want none", err, taken)
	}
	if err := outside.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := inside.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	buf, n, err := p.read()
	if err != nil || string(buf[:n]) != "hello" {
		t.Errorf("read = %q, %v", buf[:n], err)
	}
}
