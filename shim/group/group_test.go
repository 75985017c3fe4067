// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"go.uber.org/goleak"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSlot(t *testing.T) Slot {
	t.Helper()
	return newGroup(t, shimoption.Pod).slot(0)
}

func newGroup(t *testing.T, pods shimoption.Pods) Group {
	t.Helper()
	dir, err := os.MkdirTemp("", "group")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g, err := New(dir, "/run/containerd.sock", "k8s.io", "pod", pods)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// serve answers all calls in a slot with the given error, or with success if it is nil.
func serve(t *testing.T, slot Slot, answer error) (stop func()) {
	t.Helper()
	f, err := slot.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	join := func(_ context.Context, unmarshal func(any) error) (any, error) {
		return &taskapi.ConnectResponse{}, errgrpc.ToGRPC(answer)
	}
	server.RegisterService(Service, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{Join: join, JoinPod: join, Leave: join}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(context.Background(), l)
	}()
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

func TestAddresses(t *testing.T) {
	address := func(containerd, namespace, name string, pods shimoption.Pods) string {
		g, err := New("/run/s", containerd, namespace, name, pods)
		if err != nil {
			t.Fatal(err)
		}
		return g.slot(0).Address()
	}
	base := address("a", "b", "c", shimoption.Pod)
	if base != address("a", "b", "c", shimoption.Pod) {
		t.Error("the same group has two addresses")
	}
	if !strings.HasPrefix(base, "unix:///run/s/") {
		t.Errorf("address = %s", base)
	}
	for _, other := range []string{
		address("x", "b", "c", shimoption.Pod), address("a", "x", "c", shimoption.Pod), address("a", "b", "x", shimoption.Pod),
		address("a", "bc", "", shimoption.Pod), address("ab", "", "c", shimoption.Pod), address("a", "b", "c", shimoption.Node),
	} {
		if other == base {
			t.Error("two groups have the same address")
		}
	}
	// containerd allows a socket_dir of this length.
	if _, err := New("/"+strings.Repeat("d", 41), "a", "b", "c", shimoption.Node); err != nil {
		t.Error(err)
	}
	if _, err := New("/"+strings.Repeat("d", 60), "a", "b", "c", shimoption.Pod); !errdefs.IsInvalidArgument(err) {
		t.Errorf("long directory: %v, want invalid argument", err)
	}
}

func TestJoin(t *testing.T) {
	slot := newSlot(t)
	expect := func(state string, want bool, wantErr bool) {
		t.Helper()
		got, err := slot.Join(t.Context(), Join, "web")
		if got != want || (err != nil) != wantErr {
			t.Errorf("%s: joined %v, %v", state, got, err)
		}
	}
	expect("no shim", false, false)
	stop := serve(t, slot, nil)
	expect("running shim", true, false)
	stop()
	expect("lost shim", false, false)
	stop = serve(t, slot, fmt.Errorf("ending: %w", errdefs.ErrUnavailable))
	expect("ending shim", false, false)
	stop()
	stop = serve(t, slot, fmt.Errorf("odd: %w", errdefs.ErrInternal))
	expect("broken shim", false, true)
	stop()
}

// A shim that accepts the connection but does not answer is not replaced.
func TestJoinUnresponsiveShim(t *testing.T) {
	slot := newSlot(t)
	f, err := slot.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if joined, err := slot.Join(ctx, Join, "web"); joined || err == nil {
		t.Errorf("joined %v, %v, want an error", joined, err)
	}
}

// Of concurrent callers one holds the lock, although its file is removed and created again.
func TestLock(t *testing.T) {
	slot := newSlot(t)
	var holders, total atomic.Int32
	var racing sync.WaitGroup
	for range 20 {
		racing.Go(func() {
			unlock, err := slot.Lock(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d callers hold the lock", n)
			}
			total.Add(1)
			holders.Add(-1)
			slot.Remove()
		})
	}
	racing.Wait()
	if n := total.Load(); n != 20 {
		t.Errorf("%d callers held the lock, want 20", n)
	}
}

func TestLockCanceled(t *testing.T) {
	slot := newSlot(t)
	unlock, err := slot.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := slot.Lock(ctx); err == nil {
		t.Error("locked twice")
	}
}

func TestRetire(t *testing.T) {
	slot := newSlot(t)
	listen := func() (*os.File, os.FileInfo) {
		f, err := slot.Listen()
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(slot.Path())
		if err != nil {
			t.Fatal(err)
		}
		return f, info
	}
	first, own := listen()
	defer first.Close()
	if mode := own.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the socket = %v, want 0600", mode)
	}
	second, successor := listen()
	defer second.Close()
	if err := slot.Retire(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(slot.Path()); err != nil {
		t.Errorf("the socket of the successor is gone: %v", err)
	}
	if err := slot.Retire(t.Context(), successor); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{slot.Path(), slot.lockPath()} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestCallOff(t *testing.T) {
	slot := newSlot(t)
	stop := serve(t, slot, nil)
	if err := slot.CallOff(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(slot.Path()); err != nil {
		t.Errorf("the socket of a running shim is gone: %v", err)
	}
	stop()
	if err := slot.CallOff(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(slot.Path()); !os.IsNotExist(err) {
		t.Errorf("the socket of a lost shim is still there: %v", err)
	}
}
