// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// asDaemon is set in the environment of a test binary that runs as containerd-lite.
const asDaemon = "CONTAINERD_LITE_TEST_AS_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		os.Exit(Main(context.Background(), os.Args, os.Stderr))
	}
	os.Exit(m.Run())
}

// daemon is a containerd-lite with its own root, state and socket. The test stands in for systemd.
type daemon struct {
	cmd    *exec.Cmd
	socket string
	config string
	notify *net.UnixConn
	log    *logFile
}

// start runs containerd-lite with a config.toml and more environment variables. It adds a line to
// the file that keeps all data in a directory of the test. The daemon ends with the test.
func start(t *testing.T, config string, env ...string) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containerd needs root")
	}
	dir, err := os.MkdirTemp("", "lite") // t.TempDir may be too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("config.toml"), "imports = ['dirs.toml']\n"+config)
	write(t, in("dirs.toml"), "version = 4\nplugins.'io.containerd.internal.v1.opt'.path = '"+in("opt")+"'\n")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: in("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	d := &daemon{socket: in("sock"), config: in("config.toml"), notify: notify, log: newLogFile()}
	d.cmd = exec.Command(os.Args[0], "--config", in("config.toml"), "--root", in("root"), "--state", in("state"), "--address", d.socket)
	d.cmd.Env = append(append(os.Environ(), asDaemon+"=1", "NOTIFY_SOCKET="+in("notify")), env...)
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", d.log)
		}
	})
	return d
}

// received returns the messages that systemd has got up to now, without waiting. systemd listens at
// notify.
func received(t *testing.T, notify *net.UnixConn) string {
	t.Helper()
	raw, err := notify.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	err = raw.Control(func(fd uintptr) {
		buf := make([]byte, 256)
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			got = append(got, buf[:n]...)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// waitReady waits for READY=1.
func (d *daemon) waitReady(t *testing.T) {
	t.Helper()
	buf := make([]byte, 256)
	n, err := d.notify.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Fatalf("systemd got %q, %v; want READY=1", buf[:n], err)
	}
}

// version requests the CRI's version, without waiting for the socket.
func (d *daemon) version(t *testing.T) (*cri.VersionResponse, error) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+d.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return cri.NewRuntimeServiceClient(conn).Version(context.Background(), &cri.VersionRequest{})
}

// hangUp sends SIGHUP and waits for a text in the log.
func (d *daemon) hangUp(t *testing.T, want string) {
	t.Helper()
	if err := d.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d.log.waitFor(want)
}

// TestReady checks that READY=1 is sent once the CRI answers and not before, and that SIGTERM ends
// the daemon with exit code 0.
func TestReady(t *testing.T) {
	d := start(t, "version = 4\n")
	d.waitReady(t)
	if v, err := d.version(t); err != nil || v.RuntimeApiVersion != "v1" {
		t.Fatalf("Version after READY=1: %v, %v", v, err)
	}
	if err := d.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("exit after SIGTERM: %v", err)
	}
}

// TestReload checks that SIGHUP applies the log level, that a wrong config is logged and not
// applied, and that the CRI answers all the time.
func TestReload(t *testing.T) {
	d := start(t, "version = 4\n")
	d.waitReady(t)
	first := "version = 4\nimports = ['dirs.toml']\n"
	if strings.Contains(d.log.String(), "level=debug") {
		t.Fatal("the log level is debug at the start")
	}
	for _, step := range []struct{ config, logged string }{
		{"[debug]\nlevel = 'debug'\n", "the log level is debug"},
		{"[debug]\nlevel = 'all'\n", "debug.level"},
		{"[plugins.'io.containerd.cri.v1.images']\nsnapshotter = ''\n", "config.toml:4: plugins.'io.containerd.cri.v1.images'.snapshotter: is empty"},
		{"", "the log level is info"},
	} {
		write(t, d.config, first+step.config)
		d.hangUp(t, step.logged)
		if _, err := d.version(t); err != nil {
			t.Errorf("Version after SIGHUP with %q: %v", step.config, err)
		}
	}
	if !strings.Contains(d.log.String(), "level=debug") {
		t.Error("nothing was logged at debug")
	}
}

// handlers returns the names of the runtime handlers that the CRI offers.
func (d *daemon) handlers(t *testing.T) (names []string) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+d.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	status, err := cri.NewRuntimeServiceClient(conn).Status(t.Context(), &cri.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range status.RuntimeHandlers {
		names = append(names, h.Name)
	}
	return names
}

// TestReloadCommand checks that the command applies the CRI's tables all or nothing, says why it
// does not, and names what needs a restart. A file in the directory of drop-ins counts, too.
func TestReloadCommand(t *testing.T) {
	d := start(t, "version = 4\n")
	d.waitReady(t)
	reload := func() (string, error) {
		cmd := exec.Command(os.Args[0], "--config", d.config, "--address", d.socket, "config", "reload")
		cmd.Env = append(os.Environ(), asDaemon+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const first = "version = 4\nimports = ['dirs.toml', 'conf.d/*.toml']\n"
	const handler = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]\nruntime_type = 'io.containerd.lite.v2'\n"
	const pinned = "[plugins.'io.containerd.cri.v1.images'.pinned_images]\napp = 'docker.io/library/app:1'\n"
	dropIn := filepath.Join(filepath.Dir(d.config), "conf.d", "99-nvidia.toml")
	if err := os.Mkdir(filepath.Dir(dropIn), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		config, dropIn string
		want           []string
		wantErr        bool
		handlers       []string
	}{
		{"", handler, []string{"config.toml reloaded; the log level is info\n"}, false, []string{"", "lite", "nvidia", "runc"}},
		{pinned, "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]\nruntime_type = ''\n",
			[]string{"nothing is changed", "99-nvidia.toml:3", "runtime_type: is empty"}, true, []string{"", "lite", "nvidia", "runc"}},
		{"[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'missing'\n", "",
			[]string{"nothing is changed", "there is no snapshotter"}, true, []string{"", "lite", "nvidia", "runc"}},
		{"oom_score = 7\n[plugins.'io.containerd.cri.v1.runtime']\nenable_selinux = true\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.03\n", "",
			[]string{"restart containerd-lite to apply the changes of oom_score, io.containerd.gc.v1.scheduler, io.containerd.cri.v1.runtime.enable_selinux"},
			false, []string{"", "lite", "runc"}},
		{"", "", []string{"config.toml reloaded; the log level is info\n"}, false, []string{"", "lite", "runc"}},
	} {
		write(t, d.config, first+step.config)
		write(t, dropIn, "version = 4\n"+step.dropIn)
		out, err := reload()
		if (err != nil) != step.wantErr {
			t.Errorf("reload of %q, %q: %v", step.config, step.dropIn, err)
		}
		for _, text := range step.want {
			if !strings.Contains(out, text) {
				t.Errorf("reload of %q, %q printed %q, want %q", step.config, step.dropIn, out, text)
			}
		}
		got := d.handlers(t)
		slices.Sort(got)
		if !slices.Equal(got, step.handlers) {
			t.Errorf("handlers after a reload of %q, %q: %q, want %q", step.config, step.dropIn, got, step.handlers)
		}
	}
}

// TestConfigCommands checks that the commands that read config.toml report its errors.
func TestConfigCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	for _, test := range []struct{ command, config, want string }{
		{"check", "version = 4\n", ""},
		{"check", "version = 4\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = ''\n", "config.toml:3: "},
		{"dump", "[plugins\n", "config.toml:1:"},
		{"migrate", "[plugins\n", "config.toml:1:"},
	} {
		write(t, file, test.config)
		err := Command().Run(t.Context(), []string{"containerd-lite", "--config", file, "config", test.command})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("config %s of %q: %v, want %q", test.command, test.config, err, test.want)
		}
	}
}

// TestCompletion checks that the shell gets the commands.
func TestCompletion(t *testing.T) {
	app := Command()
	var out bytes.Buffer
	app.Writer = &out
	if err := app.Run(t.Context(), []string{"containerd-lite", "config", "--generate-shell-completion"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "check:") || !strings.Contains(out.String(), "default:") {
		t.Errorf("%q, want the commands of config", out.String())
	}
}

// The daemon does not start, and its last line has the plugin, the cause and a hint.
func TestDaemonDoesNotStart(t *testing.T) {
	for _, test := range []struct {
		name, config string
		want         []string
	}{
		{"broken config", "version = 4\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = ''\n", []string{
			"config.toml:4: plugins.'io.containerd.cri.v1.images'.snapshotter: is empty", `such as "overlayfs"`}},
		{"no such snapshotter", "version = 4\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'none'\n", []string{
			"io.containerd.grpc.v1.cri: the CRI cannot serve", `there is no snapshotter "none"`, "name one that loaded: ",
			`disabled_plugins = ["io.containerd.grpc.v1.cri"]`}},
		{"half disabled", "version = 4\ndisabled_plugins = ['io.containerd.cri.v1.runtime']\n", []string{
			"io.containerd.grpc.v1.cri: the CRI cannot serve", "plugin io.containerd.cri.v1.runtime is disabled", "remove it from disabled_plugins"}},
		{"a dependency is disabled", "version = 4\ndisabled_plugins = ['io.containerd.lease.v1.manager']\n", []string{
			"io.containerd.grpc.v1.cri: the CRI cannot serve", "io.containerd.lease.v1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := start(t, test.config)
			err := d.cmd.Wait()
			if code := d.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d (%v), want 1", code, err)
			}
			lines := strings.Split(strings.TrimSpace(d.log.String()), "\n")
			last := lines[len(lines)-1]
			for _, text := range test.want {
				if !strings.Contains(last, text) {
					t.Errorf("last line %q does not say %q", last, text)
				}
			}
			if got := received(t, d.notify); strings.Contains(got, "READY") {
				t.Errorf("systemd got %q", got)
			}
		})
	}
}

// TestWithoutCRI checks that a daemon whose config disables the CRI, as Docker's packages do, runs
// and logs it.
func TestWithoutCRI(t *testing.T) {
	d := start(t, `disabled_plugins = ["cri"]`)
	d.waitReady(t)
	if !strings.Contains(d.log.String(), "the CRI is disabled") {
		t.Error("the log does not say that the CRI is disabled")
	}
	if v, err := d.version(t); err == nil {
		t.Errorf("Version returned %v", v)
	}
}

func TestVersion(t *testing.T) {
	app := Command()
	var out bytes.Buffer
	app.Writer = &out
	if err := app.Run(context.Background(), []string{"containerd-lite", "--version"}); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(out.String())
	if len(fields) < 4 || fields[0] != "containerd-lite" || !strings.HasPrefix(strings.TrimPrefix(fields[2], "v"), "2.") {
		t.Errorf("%q, want the name, containerd's package and its version", out.String())
	}
}

func TestUnknownCommand(t *testing.T) {
	app := Command()
	app.Writer, app.ErrWriter = io.Discard, io.Discard
	err := app.Run(context.Background(), []string{"containerd-lite", "serve"})
	if err == nil || !strings.Contains(err.Error(), `"serve" is not a command`) {
		t.Errorf("%v, want an unknown command", err)
	}
}
