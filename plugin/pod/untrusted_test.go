// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"maps"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

func TestUntrustedWorkload(t *testing.T) {
	const node = runtimeapi.NamespaceMode_NODE
	with := config.DefaultRuntime()
	with.Containerd.Runtimes = maps.Clone(with.Containerd.Runtimes)
	with.Containerd.Runtimes[UntrustedHandler] = config.Handler{Type: config.LiteRuntimeType}
	for name, test := range map[string]struct {
		handlers config.Runtime
		value    string
		modes    *runtimeapi.NamespaceOption
		request  string
		want     string // the handler; "" for none
	}{
		"no handler requested":      {handlers: with, value: "true", want: "untrusted"},
		"untrusted requested":       {handlers: with, value: "true", request: "untrusted", want: "untrusted"},
		"another handler requested": {handlers: with, value: "true", request: "runc"},
		"host network":              {handlers: with, value: "true", modes: &runtimeapi.NamespaceOption{Network: node}},
		"host PID":                  {handlers: with, value: "true", modes: &runtimeapi.NamespaceOption{Pid: node}},
		"host IPC":                  {handlers: with, value: "true", modes: &runtimeapi.NamespaceOption{Ipc: node}},
		"not configured":            {handlers: config.DefaultRuntime(), value: "true"},
		"not configured, requested": {handlers: config.DefaultRuntime(), value: "true", request: "untrusted"},
		"trusted":                   {handlers: with, value: "false", modes: &runtimeapi.NamespaceOption{Network: node}, want: "lite"},
		"another value":             {handlers: with, value: "yes", request: "runc", want: "runc"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f)
			m.Handlers = test.handlers
			c := ownPID("web")
			c.Annotations = map[string]string{UntrustedAnnotation: test.value}
			if test.modes != nil {
				c.Linux.SecurityContext.NamespaceOptions = test.modes
			}
			id, err := m.Run(t.Context(), c, test.request)
			if test.want == "" {
				if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), UntrustedHandler) || f.Trace() != "" {
					t.Errorf("Run: %v, want InvalidArgument before anything is created:\n%s", err, f.Trace())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r, err := m.Get(id); err != nil || r.Handler != test.want || r.Requested != test.request {
				t.Errorf("handler %q, requested %q, %v; want %q", r.Handler, r.Requested, err, test.want)
			}
		})
	}
}
