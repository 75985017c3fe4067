// SPDX-License-Identifier: Apache-2.0

package reserved_test

import (
	"testing"

	"github.com/containerd/containerd/v2/core/runtime/restart"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/plugin/reserved"
)

func TestName(t *testing.T) {
	for key, want := range map[string]bool{
		restart.StatusLabel:                   true,
		restart.LogURILabel:                   true,
		labels.ReservedPrefix:                 true,
		labels.CRIContainerdPrefix:            true,
		"containerd.io/gc.root":               true,
		"io.cri-containerd.kind":              true,
		"io.containerd.runc.v2.group":         true,
		"io.kubernetes.cri.sandbox-id":        true,
		"nerdctl/log-uri":                     true,
		"":                                    false,
		"containerd.io":                       false,
		"example.containerd.io/restart":       false,
		"io.kubernetes.container.name":        false,
		"io.kubernetes.cri-o.userns-mode":     false,
		"org.opencontainers.image.base.name":  false,
		"CONTAINERD.IO/restart.status":        false, // containerd compares bytes
		"io.kubernetes.pod.terminationPeriod": false,
	} {
		if got := reserved.Name(key); got != want {
			t.Errorf("Name(%q) is %v", key, got)
		}
	}
}

func TestDrop(t *testing.T) {
	got := reserved.Drop(map[string]string{restart.StatusLabel: "running", "app": "web"})
	if diff := cmp.Diff(map[string]string{"app": "web"}, got); diff != "" {
		t.Error(diff)
	}
}
