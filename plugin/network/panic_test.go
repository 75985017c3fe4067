// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
)

// badExec runs plugins. It panics until the test turns that off.
type badExec struct {
	*pluginExec
	panics atomic.Bool
}

func (b *badExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	if b.panics.Load() {
		panic(path)
	}
	return b.pluginExec.ExecPlugin(ctx, path, stdin, environ)
}

// openBad is open with an exec that panics until heal is called.
func (s *site) openBad() (n *Network, heal func()) {
	bad := &badExec{pluginExec: new(pluginExec)}
	bad.panics.Store(true)
	n = s.open()
	n.settings.Load().cni = libcni.NewCNIConfigWithCacheDir(s.opts.BinDirs, s.cache, bad)
	return n, func() { bad.panics.Store(false) }
}

// A panic while a plugin runs ends the call with an error that names the network.
func TestPanicInAttachAndDetach(t *testing.T) {
	for _, serially := range []bool{true, false} {
		s := newSite(t, "bridge")
		s.opts.SetupSerially = serially
		s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
		n, heal := s.openBad()
		pod := Pod{ID: "p", NetNS: "/proc/self/ns/net"}
		if _, err := n.Attach(t.Context(), pod); !errdefs.IsInternal(err) || !strings.Contains(err.Error(), "main") {
			t.Errorf("Attach = %v, want Internal, of network main", err)
		}
		if err := n.Detach(t.Context(), pod); !errdefs.IsInternal(err) {
			t.Errorf("Detach = %v, want Internal", err)
		}
		heal()
		if _, err := n.Attach(t.Context(), pod); err != nil {
			t.Errorf("the next Attach: %v", err)
		}
		if err := n.Detach(t.Context(), pod); err != nil {
			t.Errorf("the next Detach: %v", err)
		}
	}
}

// A result on which libcni would panic is an error of Attach.
func TestPanicInAResult(t *testing.T) {
	s := newSite(t, "bridge")
	bad := adding("bridge")
	bad.Result = []byte(`{"cniVersion": "1.0.0", "interfaces": [null], "ips": [{"address": "10.1.0.2/24", "interface": 0}]}`)
	s.write("10-main.conflist", "main", "1.0.0", bad)
	if _, err := s.open().Attach(t.Context(), Pod{ID: "p", NetNS: "/proc/self/ns/net"}); err == nil {
		t.Error("Attach accepted a result with a null interface")
	}
}

// A panic in STATUS is the status, until the next refresh.
func TestPanicInTheStatus(t *testing.T) {
	s := newSite(t, "bridge")
	s.write("10-main.conflist", "main", "1.1.0", adding("bridge"))
	n, heal := s.openBad()
	run(t, n)
	if err := n.Status(""); !errdefs.IsInternal(err) {
		t.Errorf("Status = %v, want Internal", err)
	}
	heal()
	eventually(t, "the answer of the plugin", func() bool { return n.Status("") == nil })
}

// A panic on a throwaway thread becomes an error of its caller.
func TestPanicOnAThread(t *testing.T) {
	if err := onThrowawayThread(func() error { panic("boom") }); !errdefs.IsInternal(err) {
		t.Errorf("%v, want Internal", err)
	}
	if err := onThrowawayThread(func() error { return nil }); err != nil {
		t.Errorf("the next call: %v", err)
	}
}
