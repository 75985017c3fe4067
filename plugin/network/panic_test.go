// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
)

// panickingExec stands for an answer that libcni panics on.
type panickingExec struct{ *pluginExec }

func (panickingExec) ExecPlugin(context.Context, string, []byte, []string) ([]byte, error) {
	panic("unexpected answer")
}

func TestPanicEndsTheCallOnly(t *testing.T) {
	s := newSite(t, "bridge")
	s.write("10-main.conflist", "main", "1.1.0", adding("bridge"))
	n := s.open()
	n.cni = libcni.NewCNIConfigWithCacheDir(n.opts.BinDirs, s.cache, panickingExec{n.exec})
	run(t, n)
	_, attachErr := n.Attach(t.Context(), webPod)
	for name, err := range map[string]error{
		"Attach": attachErr,
		"Detach": n.Detach(t.Context(), webPod),
		"Status": n.Status(""),
	} {
		if !errdefs.IsInternal(err) || !strings.Contains(err.Error(), `"main"`) {
			t.Errorf("%s: %v, want an internal error that names the network", name, err)
		}
	}
}
