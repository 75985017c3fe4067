// SPDX-License-Identifier: Apache-2.0

package crictl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/console"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

var errRunning = errors.New("the container still runs")

// followLogs reads lines while the container writes them, and checks that logs -f returns when the
// container exits.
func followLogs(t *testing.T, u user) {
	config := u.PodConfig("follow")
	script := `echo first; while [ ! -e /go ]; do sleep 0.1; done; echo second; echo third >&2; exit 0`
	_, id := u.pod(t, "follow", config, harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", script))

	cmd := u.Crictl(t.Context(), "logs", "-f", id)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	lines := start(t, cmd)
	equal(t, "first line", readLine(t, lines), "first")
	u.run(t, "exec", id, "touch", "/go")
	equal(t, "second line", readLine(t, lines), "second")
	if err := cmd.Wait(); err != nil {
		t.Errorf("logs -f after the container's exit: %v", err)
	}
	equal(t, "logs -f on stderr", stderr.String(), "third\n")
}

func logs(t *testing.T, u user) {
	config := u.PodConfig("logs")
	container := harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; exec sleep 1000")
	_, id := u.pod(t, "logs", config, container)
	if err := harness.Await(t.Context(), func() error {
		if got := u.run(t, "logs", id); got != "line 1\nline 2\nline 3\nline 4\nline 5" {
			return fmt.Errorf("logs: %q", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	equal(t, "logs --tail", u.run(t, "logs", "--tail", "2", id), "line 4\nline 5")
}

// spdy and webSocket are the transports that crictl supports.
const (
	spdy      = "spdy"
	webSocket = "websocket"
)

// over runs a test with one transport.
func over(transport string, test func(t *testing.T, u user, transport string)) func(*testing.T, user) {
	return func(t *testing.T, u user) { test(t, u, transport) }
}

// execSync checks that the output is limited to what the client accepts, and that a command is
// killed at its timeout with all its children.
func execSync(t *testing.T, u user) {
	_, id := u.sleeper(t, "sync")
	out := u.run(t, "exec", "--sync", id, "sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x")
	if len(out) != 16_000_000 {
		t.Errorf("exec --sync printed %d bytes, want 16000000", len(out))
	}
	_, err := harness.Output(u.Crictl(t.Context(), "exec", "--sync", "--timeout", "1", id, "sh", "-c", "cat /dev/zero >/dev/null & cat /dev/zero >/dev/null"))
	if err == nil || !strings.Contains(err.Error(), "DeadlineExceeded") {
		t.Errorf("exec --sync beyond its timeout: %v", err)
	}
	if u.Handler != harness.HandlerLite {
		return // the stock shim kills only the command
	}
	if err := u.AwaitProcesses(t.Context(), "cat", 0); err != nil {
		t.Error(err)
	}
}

func exec(t *testing.T, u user, transport string) {
	_, id := u.sleeper(t, "exec")
	equal(t, "exec", u.run(t, "exec", "--transport", transport, id, "echo", "hello"), "hello")
	equal(t, "exec --sync", u.run(t, "exec", "--sync", id, "hostname"), "exec")

	// cat exits at the end of its input; its output must arrive nevertheless.
	cmd := u.Crictl(t.Context(), "exec", "--transport", transport, "-i", id, "cat")
	cmd.Stdin = strings.NewReader("through stdin")
	out, err := harness.Output(cmd)
	if err != nil {
		t.Errorf("exec -i: %v", err)
	}
	equal(t, "exec -i", out, "through stdin")

	_, err = harness.Output(u.Crictl(t.Context(), "exec", "--transport", transport, id, "sh", "-c", "exit 5"))
	if err == nil || !strings.Contains(err.Error(), "exit code 5") {
		t.Errorf("exec of a command that exits with 5: %v", err)
	}
}

// execTerminal types into a shell through a pty.
func execTerminal(t *testing.T, u user, transport string) {
	_, id := u.sleeper(t, "terminal")
	terminal, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if err := terminal.Resize(console.WinSize{Width: 91, Height: 33}); err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := u.Crictl(t.Context(), "exec", "--transport", transport, "-it", id, "sh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := side.Close(); err != nil {
		t.Fatal(err)
	}
	// The size of the terminal is set a moment after the shell has started.
	fmt.Fprint(terminal, "until stty size | grep -q '33 91'; do sleep 0.1; done; echo a $((40+2)) on $(tty)\nexit\n")
	// A read of the pty fails once crictl has closed its side.
	out, _ := io.ReadAll(terminal)
	if err := cmd.Wait(); err != nil {
		t.Errorf("exec -it: %v", err)
	}
	contains(t, "exec -it", string(out), "a 42 on /dev/pts/")
}

func attach(t *testing.T, u user, transport string) {
	config := u.PodConfig("attach")
	container := harness.ContainerConfig(config, "main", image.Busybox, "sh", "-c", "while read word; do echo you said $word; done; echo bye")
	container.Stdin, container.StdinOnce = true, true
	_, id := u.pod(t, "attach", config, container)

	cmd := u.Crictl(t.Context(), "attach", "--transport", transport, "-i", id)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := start(t, cmd)
	fmt.Fprintln(stdin, "hello")
	equal(t, "the answer of the container", readLine(t, lines), "you said hello")
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, "its output at the end of the input", readLine(t, lines), "bye")
	if err := cmd.Wait(); err != nil {
		t.Errorf("attach: %v", err)
	}
	contains(t, "the log", u.run(t, "logs", id), "you said hello\nbye")
}

func portForward(t *testing.T, u user, transport string) {
	config := u.PodConfig("forward")
	pod, _ := u.pod(t, "forward", config, harness.ContainerConfig(config, "httpd", image.Httpd))
	cmd := u.Crictl(t.Context(), "port-forward", "--transport", transport, pod, ":80")
	lines := start(t, cmd)
	// Example: Forwarding from 127.0.0.1:36789 -> 80
	words := strings.Fields(readLine(t, lines))
	if len(words) < 3 {
		t.Fatalf("port-forward printed %q", words)
	}
	page(t, "http://"+words[2]+"/")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed by our signal
}

func hostPort(t *testing.T, u user) {
	port := harness.Port(t)
	config := u.PodConfig("published")
	config.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: port}}
	u.pod(t, "published", config, harness.ContainerConfig(config, "httpd", image.Httpd))
	page(t, fmt.Sprintf("http://127.0.0.1:%d/", port))
}

// page retries until the server, which was started a moment ago, serves its page.
func page(t *testing.T, url string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if err := harness.Await(t.Context(), func() error {
		answer, err := client.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil && string(text) != "It works!\n" {
			return fmt.Errorf("%s: %s: %q", url, answer.Status, text)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// start starts a command and returns a reader of its output. The command is killed when the test
// ends.
func start(t *testing.T, cmd *osexec.Cmd) *bufio.Reader {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(out)
}

func readLine(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("read line: %v", err)
	}
	return strings.TrimSpace(line)
}
