// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

const (
	// drainTimeout bounds how long Finish waits for a slow reader.
	drainTimeout = 10 * time.Second

	// terminalDrainTimeout bounds how long Finish waits for data that the kernel still moves
	// between the two ends of a terminal.
	terminalDrainTimeout = 200 * time.Millisecond
)

// Config names the streams of a process in the form of containerd: a path, a URI, or "" for none.
type Config struct {
	Stdin    string
	Stdout   string
	Stderr   string
	Terminal bool
}

// Pipes returns the streams without those that a client must not open. containerd opens the streams
// of a task that it finds at its start as pipes, and the shim writes its log itself.
func (c Config) Pipes() Config {
	for _, stream := range []*string{&c.Stdout, &c.Stderr} {
		if containerlog.IsURI(*stream) {
			*stream = ""
		}
	}
	return c
}

// Owner identifies the process to binary loggers and in logs, and sets the owner of its pipes.
type Owner struct {
	ID        string
	Namespace string
	UID       int // owner of the pipes, from Options.io_uid
	GID       int
	// Broken is called when a panic ends the copying of a stream. It should kill the process, and
	// may be nil.
	Broken func()
}

// Streams are the open streams of one process.
type Streams struct {
	cfg     Config
	sinks   [2]io.WriteCloser // set by Into: receive the output instead of what cfg names
	outputs sync.WaitGroup
	inputs  sync.WaitGroup
	ctx     context.Context // carries the log fields; set by Open, like broken
	broken  func()

	mu       sync.Mutex
	inside   [3]*os.File // the container's ends: stdin, stdout, stderr
	pumps    []*pump
	logger   *logger
	log      *shimLog
	terminal *terminal
	// stdin keeps the FIFO open until CloseStdin.
	stdin       *os.File
	stdinClosed bool
}

// New returns the streams of a process without opening them.
func New(cfg Config) *Streams { return &Streams{cfg: cfg, ctx: context.Background()} }

// Into returns the streams of a process whose output goes to two writers. Its stdin is /dev/null.
// The writers are closed when the output has ended, or by Close; they may be closed twice.
func Into(stdout, stderr io.WriteCloser) *Streams {
	s := New(Config{})
	s.sinks = [2]io.WriteCloser{stdout, stderr}
	return s
}

// Config returns the names of the streams.
func (s *Streams) Config() Config { return s.cfg }

// Open opens all streams except a terminal, which the runtime sends later. It waits until the
// outputs have readers (see openFIFO), or until the binary logger is ready. Close must be called
// even after an error.
func (s *Streams) Open(ctx context.Context, owner Owner, children *reap.Reaper) error {
	logger, err := openLogger(ctx, s.cfg, owner, children)
	if err != nil {
		return err
	}
	log, err := openShimLog(s.cfg, owner)
	if err != nil {
		return err
	}
	sinks := s.sinks
	if sinks[0] == nil {
		sinks, err = openSinks(ctx, s.cfg, log)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logger, s.log = logger, log
	s.ctx, s.broken = context.WithoutCancel(ctx), owner.Broken
	if err != nil {
		return err
	}
	if s.cfg.Terminal {
		return s.openTerminalLocked(sinks[0])
	}
	return s.openPipesLocked(owner, sinks)
}

// openTerminalLocked prepares the output of a terminal that Run connects later.
func (s *Streams) openTerminalLocked(sink io.WriteCloser) (err error) {
	if s.logger != nil {
		var unused *os.File
		sink, unused = s.logger.take()
		_ = unused.Close()
	} else if sink == nil {
		if sink, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return fmt.Errorf("stdio: %w", err)
		}
	}
	s.pumps = append(s.pumps, &pump{dst: sink, output: true})
	return nil
}

func (s *Streams) openPipesLocked(owner Owner, sinks [2]io.WriteCloser) (err error) {
	// Register all pumps before a pipe is created: Close only closes registered files.
	outputs := [2]*pump{}
	for i, sink := range sinks {
		if sink != nil {
			outputs[i] = &pump{dst: sink, output: true}
			s.pumps = append(s.pumps, outputs[i])
		}
	}
	for i, p := range outputs {
		if p == nil {
			continue
		}
		if p.src, s.inside[i+1], err = newOutputPipe(owner); err != nil {
			return err
		}
	}
	if s.logger != nil {
		s.inside[1], s.inside[2] = s.logger.take()
	}
	if err = s.openStdinLocked(owner); err != nil {
		return err
	}
	// Unset streams are /dev/null. They must not be nil: without a file for its output, a command
	// of the runtime is only complete when the container exits.
	for i, f := range s.inside {
		if f == nil {
			if s.inside[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
				return fmt.Errorf("stdio: %w", err)
			}
		}
	}
	return nil
}

func (s *Streams) openStdinLocked(owner Owner) error {
	if s.cfg.Stdin == "" {
		return nil
	}
	reader, writer, err := openSource(s.cfg.Stdin)
	if err != nil {
		return err
	}
	s.keepStdinLocked(writer)
	p := &pump{src: reader}
	s.pumps = append(s.pumps, p)
	var outside *os.File
	s.inside[0], outside, err = newPipe(owner)
	if err == nil {
		p.dst = outside
	}
	return err
}

// Set implements the IO of go-runc.
func (s *Streams) Set(cmd *exec.Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.inside[0], s.inside[1], s.inside[2]
}

// CloseAfterStart implements the StartCloser of go-runc. The container has inherited its ends of
// the pipes, so the shim closes its copies.
func (s *Streams) CloseAfterStart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeInsideLocked()
	return nil
}

func (s *Streams) closeInsideLocked() {
	closeAll(s.inside[:]...)
	s.inside = [3]*os.File{}
}

// Stdin implements the IO of go-runc, which does not use it.
func (s *Streams) Stdin() io.WriteCloser { return nil }

// Stdout implements the IO of go-runc, which does not use it.
func (s *Streams) Stdout() io.ReadCloser { return nil }

// Stderr implements the IO of go-runc, which does not use it.
func (s *Streams) Stderr() io.ReadCloser { return nil }

// Run starts copying. master is the pty master of the process, or nil; Run takes ownership of it.
func (s *Streams) Run(master *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if master != nil {
		if err := s.attachLocked(master); err != nil {
			return err
		}
	}
	for _, p := range s.pumps {
		if p.output {
			s.outputs.Go(guard.Catch(s.ctx, "copy output", p.run, s.reportBroken))
		} else {
			s.inputs.Go(guard.Catch(s.ctx, "copy stdin", p.run, s.reportBroken))
		}
	}
	return nil
}

func (s *Streams) reportBroken(error) {
	if s.broken != nil {
		s.broken()
	}
}

// attachLocked connects the terminal.
func (s *Streams) attachLocked(master *os.File) error {
	t, err := newTerminal(master)
	if err != nil {
		_ = master.Close()
		return err
	}
	s.terminal = t
	output := s.pumps[0]
	output.src, output.onHangup = master, t.reopen
	if s.cfg.Stdin == "" {
		return nil
	}
	reader, writer, err := openSource(s.cfg.Stdin)
	if err != nil {
		return err
	}
	s.keepStdinLocked(writer)
	s.pumps = append(s.pumps, &pump{src: reader, dst: master})
	return nil
}

// keepStdinLocked keeps the FIFO open, unless CloseStdin was called before the process started.
func (s *Streams) keepStdinLocked(writer *os.File) {
	if s.stdinClosed {
		_ = writer.Close()
		return
	}
	s.stdin = writer
}

// CloseStdin makes the process read EOF once the client has closed its end, too.
func (s *Streams) CloseStdin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeStdinLocked()
}

func (s *Streams) closeStdinLocked() {
	s.stdinClosed = true
	if s.stdin != nil {
		_ = s.stdin.Close()
		s.stdin = nil
	}
}

// Resize sets the size of the terminal; without a terminal it does nothing.
func (s *Streams) Resize(width, height uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal == nil {
		return nil
	}
	if width > maxSize || height > maxSize {
		return fmt.Errorf("terminal: size %dx%d: %w", width, height, errdefs.ErrInvalidArgument)
	}
	return s.terminal.resize(uint16(width), uint16(height))
}

// maxSize is the largest width or height of a terminal, see tty_ioctl(4).
const maxSize = 1<<16 - 1

// Exited is called when the process has exited. Its output is still copied.
func (s *Streams) Exited() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal != nil {
		s.terminal.exited()
	}
}

// Finish copies the output that was written so far and closes the streams, even if another process
// still holds the container's ends. A reader that does not read delays Finish by at most
// drainTimeout.
func (s *Streams) Finish() {
	done := s.outputsDone()
	s.mu.Lock()
	pumps, terminal := s.pumps, s.terminal
	s.mu.Unlock()
	if terminal != nil {
		waitFor(done, terminalDrainTimeout)
	}
	for _, p := range pumps {
		p.finish()
	}
	waitFor(done, drainTimeout)
	_ = s.Close()
	<-done
	s.inputs.Wait()
}

// outputsDone returns a channel that is closed when all outputs have ended.
func (s *Streams) outputsDone() <-chan struct{} {
	done := make(chan struct{})
	go guard.Catch(s.ctx, "wait for the output", func() {
		s.outputs.Wait()
		close(done)
	}, nil)()
	return done
}

func waitFor(done <-chan struct{}, timeout time.Duration) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// Close closes all streams at once and stops the binary logger. It may be called more than once. It
// always returns nil; the result is for io.Closer.
func (s *Streams) Close() error {
	if logger := s.closeStreams(); logger != nil {
		logger.stop()
	}
	return nil
}

// closeStreams closes everything except the binary logger, which it returns; nil if there is none.
func (s *Streams) closeStreams() *logger {
	s.mu.Lock()
	defer s.mu.Unlock()
	logger := s.logger
	s.logger = nil
	s.closeInsideLocked()
	s.closeStdinLocked()
	for _, p := range s.pumps {
		p.close()
	}
	if s.terminal != nil {
		s.terminal.close()
	}
	if s.log != nil {
		s.log.close()
	}
	return logger
}
