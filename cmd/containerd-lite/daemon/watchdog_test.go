// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/urfave/cli/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeCRI answers calls of Status with the errors that the test sends, when it sends them.
type fakeCRI struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	answers chan error
	givenUp chan struct{} // calls that timed out without an answer
}

func (f *fakeCRI) Status(ctx context.Context, _ *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	select {
	case err := <-f.answers:
		return &runtimeapi.StatusResponse{}, err
	case <-ctx.Done():
		f.givenUp <- struct{}{}
		return nil, ctx.Err()
	}
}

// watch runs a watchdog with a fake CRI, and returns the socket that stands in for systemd.
func watch(t *testing.T, period string) (*fakeCRI, *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lite") // t.TempDir may be too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { systemd.Close() })
	listener, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	// The capacity exceeds the number of calls that can time out while the test is not reading.
	fake := &fakeCRI{answers: make(chan error), givenUp: make(chan struct{}, 1000)}
	server := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(server, fake)
	go server.Serve(listener)
	t.Cleanup(server.Stop)

	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", period)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Cleanup(feedWatchdog(t.Context(), filepath.Join(dir, "sock")))
	return fake, systemd
}

// wantNotified waits for systemd to get WATCHDOG=1.
func wantNotified(t *testing.T, systemd *net.UnixConn) {
	t.Helper()
	buf := make([]byte, 256)
	if n, err := systemd.Read(buf); err != nil || string(buf[:n]) != "WATCHDOG=1" {
		t.Fatalf("systemd got %q, %v; want WATCHDOG=1", buf[:n], err)
	}
}

// TestWatchdog checks that systemd is notified after each answer of the CRI, and only then.
func TestWatchdog(t *testing.T) {
	fake, systemd := watch(t, "300000")
	for _, name := range []string{"WATCHDOG_USEC", "WATCHDOG_PID"} {
		if value, ok := os.LookupEnv(name); ok {
			t.Errorf("%s=%s is left for child processes", name, value)
		}
	}
	for range 3 {
		fake.answers <- nil
		wantNotified(t, systemd)
	}
	fake.answers <- status.Error(codes.Unimplemented, "the CRI is disabled")
	wantNotified(t, systemd)

	for range 3 {
		fake.answers <- status.Error(codes.Internal, "the CRI fails")
	}
	for range 3 {
		<-fake.givenUp // the CRI hangs
	}
	if got := received(t, systemd); got != "" {
		t.Errorf("systemd got %q while the CRI fails or hangs", got)
	}
	fake.answers <- nil
	wantNotified(t, systemd)
}

// TestNoWatchdog checks that the CRI is not queried if systemd does not watch this process.
func TestNoWatchdog(t *testing.T) {
	for _, test := range []struct{ name, usec, pid string }{
		{"no watchdog", "", ""},
		{"of another process", "1000", "1"},
		{"not a number", "soon", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", test.usec)
			t.Setenv("WATCHDOG_PID", test.pid)
			before := goleak.IgnoreCurrent()
			defer feedWatchdog(t.Context(), "/nonexistent")()
			if err := goleak.Find(before); err != nil {
				t.Errorf("a goroutine is left: %v", err)
			}
		})
	}
}

// TestWatchedDaemon checks that a watched daemon notifies systemd, with the CRI and without.
func TestWatchedDaemon(t *testing.T) {
	for name, config := range map[string]string{"CRI": "version = 4\n", "no CRI": `disabled_plugins = ["cri"]`} {
		t.Run(name, func(t *testing.T) {
			d := start(t, config, "WATCHDOG_USEC=1000000")
			// WATCHDOG=1 may arrive before READY=1.
			missing := map[string]bool{"READY=1": true, "WATCHDOG=1": true}
			for len(missing) > 0 {
				buf := make([]byte, 256)
				n, err := d.notify.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				delete(missing, string(buf[:n]))
			}
		})
	}
}

func TestAddress(t *testing.T) {
	inFile := &srvconfig.Config{Plugins: map[string]any{"io.containerd.server.v1.grpc": map[string]any{"address": "/file"}}}
	for _, test := range []struct {
		merged *srvconfig.Config
		args   []string
		want   string
	}{
		{inFile, []string{"--address", "/flag"}, "/flag"},
		{inFile, nil, "/file"},
		{&srvconfig.Config{}, nil, defaults.DefaultAddress},
	} {
		cmd := Command()
		cmd.Action = func(_ context.Context, cmd *cli.Command) error {
			if got := address(cmd, test.merged); got != test.want {
				t.Errorf("%v: %s, want %s", test.args, got, test.want)
			}
			return nil
		}
		if err := cmd.Run(t.Context(), append([]string{"containerd-lite"}, test.args...)); err != nil {
			t.Error(err)
		}
	}
}
