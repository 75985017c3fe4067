// SPDX-License-Identifier: Apache-2.0

// Package shim tests io.containerd.lite.v2 under stock containerd with ctr, without our plugin.
// Package critest runs critest with the same shim under containerd's own CRI.
package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/console"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const busybox = "docker.io/library/busybox:latest"

// TestShim always uses stock containerd, whatever LITE_DAEMON is. LITE_HANDLER=runc runs it with
// containerd's shim, as a control; LITE_SHARING=node runs it with one shim for all.
func TestShim(t *testing.T) {
	options := harness.FromEnv()
	options.Daemon = harness.Stock
	if options.Handler == "" {
		options.Handler = harness.HandlerLite
	}
	bench := harness.StartWith(t, options)
	c := ctr{bench, []string{"--runtime", "io.containerd." + options.Handler + ".v2"}}
	if options.Sharing != "" {
		file := bench.Path("options.toml")
		if err := os.WriteFile(file, []byte("Sharing = "+options.Sharing), 0o600); err != nil {
			t.Fatal(err)
		}
		c.runtime = append(c.runtime, "--runtime-config-path", file)
	}
	c.run(t, "images", "pull", "--hosts-dir", bench.Path("certs.d"), busybox)
	c.run(t, "images", "pull", "--hosts-dir", bench.Path("certs.d"), image.Httpd)
	for _, test := range []struct {
		name string
		run  func(*testing.T, ctr)
	}{
		{"run --rm", runOnce},
		{"exit code", exitCode},
		{"command not found", notFound},
		{"run -t", terminal},
		{"stdin", stdin},
		{"exec", execute},
		{"exec exit code", executeExitCode},
		{"out of memory in an exec", outOfMemory},
		{"kill", kill},
		{"kill by signal name", terminate},
		{"pause and resume", pause},
		{"metrics and ps", metrics},
		{"attach", attach},
		{"shim killed", shimKilled},
		{"containerd killed", daemonKilled},
	} {
		bench.NoLeaks(t, test.name, func(t *testing.T) { test.run(t, c) })
	}
}

// ctr runs ctr with the shim under test.
type ctr struct {
	*harness.Bench
	runtime []string // ctr's arguments for the shim and its options
}

func (c ctr) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return harness.Output(c.Ctr(t.Context(), args...))
}

func (c ctr) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(t, args...)
	if err != nil {
		t.Fatalf("ctr %v", err)
	}
	return out
}

// args returns the arguments of `ctr run` with options, the image, the ID and the command.
func (c ctr) args(options string, id string, command ...string) []string {
	args := slices.Concat([]string{"run"}, c.runtime, strings.Fields(options), []string{busybox, id})
	return append(args, command...)
}

// detached runs a container in the background and removes it when the test ends.
func (c ctr) detached(t *testing.T, id string, command ...string) {
	t.Helper()
	c.run(t, c.args("-d", id, command...)...)
	t.Cleanup(func() { c.remove(t, id) })
}

// remove removes a container in any state, as a user would.
func (c ctr) remove(t *testing.T, id string) {
	t.Helper()
	for _, args := range [][]string{{"task", "rm", "--force", id}, {"container", "rm", id}} {
		if _, err := harness.Output(c.Ctr(harness.After(t), args...)); err != nil {
			t.Errorf("ctr %v", err)
		}
	}
}

// awaitStatus waits until `ctr task ls` shows the task with a status.
func (c ctr) awaitStatus(t *testing.T, id, status string) {
	t.Helper()
	if err := harness.Await(t.Context(), func() error {
		out, err := c.try(t, "task", "ls")
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id && fields[2] == status {
				return nil
			}
		}
		return fmt.Errorf("task %s is not %s: %w:\n%s", id, status, err, out)
	}); err != nil {
		t.Fatal(err)
	}
}

func runOnce(t *testing.T, c ctr) {
	out := c.run(t, c.args("--rm", "once", "sh", "-c", "echo on stdout; echo on stderr >&2")...)
	if out != "on stdout" {
		t.Errorf("ctr run printed %q", out)
	}
	if out := c.run(t, "containers", "ls", "-q"); out != "" {
		t.Errorf("containers after run --rm: %q", out)
	}
}

func exitCode(t *testing.T, c ctr) {
	_, err := c.try(t, c.args("--rm", "seven", "sh", "-c", "exit 7")...)
	wantCode(t, err, 7)
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("ctr: %v, want exit code %d", err, code)
	}
}

func notFound(t *testing.T, c ctr) {
	_, err := c.try(t, c.args("--rm", "absent", "/no/such/program")...)
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got error %v, want one that names the program", err)
	}
}

// terminal runs a container with a terminal, as `ctr run -t` does.
func terminal(t *testing.T, c ctr) {
	pty, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer pty.Close()
	if err := pty.Resize(console.WinSize{Width: 87, Height: 31}); err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	script := "until stty size | grep -q '31 87'; do sleep 0.1; done; tty; read word; echo got $word"
	cmd := c.Ctr(t.Context(), c.args("--rm -t", "terminal", "sh", "-c", script)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := errors.Join(cmd.Start(), side.Close()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(pty, "hello\n")
	// A read of the pty fails once ctr has closed its side.
	out, _ := io.ReadAll(pty)
	if err := cmd.Wait(); err != nil {
		t.Errorf("ctr run -t: %v", err)
	}
	for _, want := range []string{"/dev/pts/0", "got hello"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in the output of the terminal:\n%s", want, out)
		}
	}
}

func stdin(t *testing.T, c ctr) {
	cmd := c.Ctr(t.Context(), c.args("--rm", "stdin", "cat")...)
	text := strings.Repeat("0123456789abcdef\n", 1<<14)
	cmd.Stdin = strings.NewReader(text)
	out, err := harness.Output(cmd)
	if err != nil {
		t.Fatalf("ctr %v", err)
	}
	if out != strings.TrimSpace(text) {
		t.Errorf("cat returned %d bytes of %d", len(out), len(text))
	}
}
