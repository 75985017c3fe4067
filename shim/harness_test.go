// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/oci/ocitest"
)

// beShim is an environment variable that makes the test binary the shim: start runs its own
// executable.
const beShim = "LITE_TEST_BE_SHIM"

func TestMain(m *testing.M) {
	ocitest.Main()
	if os.Getenv(beShim) != "" {
		os.Exit(Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// host stands for containerd: the directories and the command line of its shims.
type host struct {
	t       *testing.T
	root    *ocitest.Root
	sockets string
	options string // runtime options in TOML
	binary  string // executable of the shim; "" for the test binary
	events  string // address of containerd's events service; "" for the one in the environment
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "shim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &host{t: t, root: ocitest.New(t), sockets: dir}
}

// bundleOf returns a new bundle of a task in a pod.
func (h *host) bundleOf(pod string, args ...string) string {
	h.t.Helper()
	dir := h.root.Bundle(true, args...)
	config := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		h.t.Fatal(err)
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		h.t.Fatal(err)
	}
	spec["annotations"] = map[string]string{"io.kubernetes.cri.sandbox-id": pod}
	if data, err = json.Marshal(spec); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(config, data, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return dir
}

func (h *host) command(dir, id string, args ...string) *exec.Cmd {
	binary := h.binary
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			h.t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, append([]string{"-namespace", "ns", "-id", id, "-address", "/c.sock"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), beShim+"=1", ttrpcAddress+"="+filepath.Join(h.sockets, "c"))
	return cmd
}

// start runs the start command as containerd does and returns its answer.
func (h *host) start(dir, id string) (*bootapi.BootstrapResult, error) {
	params := &bootapi.BootstrapParams{InstanceID: id, Namespace: "ns", SocketDir: &h.sockets, ContainerdTtrpcAddress: h.events}
	if err := params.AddExtension(&runtimeoptions.Options{ConfigBody: []byte(h.options)}); err != nil {
		return nil, err
	}
	input, err := proto.Marshal(params)
	if err != nil {
		return nil, err
	}
	cmd := h.command(dir, id, "start")
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return nil, &startError{string(output), err}
	}
	result := &bootapi.BootstrapResult{}
	return result, proto.Unmarshal(output, result)
}

type startError struct {
	output string
	cause  error
}

func (e *startError) Error() string { return e.cause.Error() + ": " + e.output }

func (h *host) mustStart(dir, id string) string {
	h.t.Helper()
	result, err := h.start(dir, id)
	if err != nil {
		h.t.Fatal(err)
	}
	if result.Version != 3 || result.Protocol != "ttrpc" {
		h.t.Errorf("answer = %v", result)
	}
	if found, err := result.FindExtension(&types.MountCapabilities{}); !found || err != nil {
		h.t.Errorf("mount capabilities: found %v, %v", found, err)
	}
	return result.Address
}

// startAll starts tasks at the same time and returns the addresses of their shims.
func (h *host) startAll(ids []string, bundle func(id string) (dir string)) []string {
	h.t.Helper()
	addresses := make([]string, len(ids))
	var starting sync.WaitGroup
	for i, id := range ids {
		dir := bundle(id)
		starting.Go(func() {
			result, err := h.start(dir, id)
			if err != nil {
				h.t.Error(err)
				return
			}
			addresses[i] = result.Address
		})
	}
	starting.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
	return addresses
}

// client connects to a shim and kills the shim when the test ends.
func (h *host) client(address string) (taskapi.TTRPCTaskService, *ttrpc.Client) {
	h.t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(address, "unix://"))
	if err != nil {
		h.t.Fatal(err)
	}
	c := ttrpc.NewClient(conn)
	client := taskapi.NewTTRPCTaskClient(c)
	connected, err := client.Connect(h.t.Context(), &taskapi.ConnectRequest{ID: "any"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = unix.Kill(int(connected.ShimPid), unix.SIGKILL)
		_ = c.Close()
	})
	return client, c
}

// killShim kills a shim and waits until it is gone.
func killShim(t *testing.T, pid uint32) {
	t.Helper()
	gone := watch(t, pid)
	if err := unix.Kill(int(pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone()
}

func (h *host) create(client taskapi.TTRPCTaskService, dir, id string) {
	h.t.Helper()
	opts, err := anypb.New(h.root.Options())
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := client.Create(h.t.Context(), &taskapi.CreateTaskRequest{ID: id, Bundle: dir, Options: opts}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := client.Start(h.t.Context(), &taskapi.StartRequest{ID: id}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) delete(dir, id string) (*taskapi.DeleteResponse, string) {
	h.t.Helper()
	cmd := h.command(dir, id, "-bundle", dir, "delete")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		h.t.Fatalf("delete: %v: %s", err, stderr.String())
	}
	response := &taskapi.DeleteResponse{}
	if err := proto.Unmarshal(stdout.Bytes(), response); err != nil {
		h.t.Fatal(err)
	}
	return response, stderr.String()
}

// watch opens a pidfd for a shim, which is not a child of the test. gone waits for its exit.
func watch(t *testing.T, pid uint32) (gone func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() {
		t.Helper()
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Minute.Milliseconds()))
		if n != 1 {
			t.Fatalf("shim %d does not exit: %v", pid, err)
		}
	}
}
