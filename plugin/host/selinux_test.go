// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/selinux/go-selinux"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

func TestLabelOptions(t *testing.T) {
	list, err := labelOptions(&runtimeapi.SELinuxOption{User: "u", Role: "r", Type: "t", Level: "s0:c1,c2"})
	must(t, err)
	if got := strings.Join(list, " "); got != "user:u role:r type:t level:s0:c1,c2" {
		t.Errorf("options %q", got)
	}
	for _, level := range []string{"s0", "s0-s1", "s0:c0.c1023", "s0:c1,c2.c5"} {
		if _, err := labelOptions(&runtimeapi.SELinuxOption{Level: level}); err != nil {
			t.Errorf("level %s: %v", level, err)
		}
	}
	for _, level := range []string{"x", "s0:", "s0:c12345", "s0\n", "s0:c1,"} {
		if _, err := new(SELinux).Labels(&runtimeapi.SELinuxOption{Level: level}, ""); !errdefs.IsInvalidArgument(err) {
			t.Errorf("level %q: error %v, want class InvalidArgument", level, err)
		}
	}
}

func TestLabelsWithoutSELinux(t *testing.T) {
	if selinux.GetEnabled() {
		t.Skip("SELinux is enabled")
	}
	s, err := NewSELinux(true, 1024)
	must(t, err)
	l, err := s.Labels(&runtimeapi.SELinuxOption{Type: "t"}, "")
	must(t, err)
	if l != (spec.Labels{}) {
		t.Errorf("labels %+v", l)
	}
	s.Release(l.Process)
	must(t, Relabel(t.TempDir(), ""))
	if vm, err := VMLabel("", "io.containerd.kata.v2"); vm != "" || err != nil {
		t.Errorf("label of a virtual machine: %q, %v", vm, err)
	}
}

// The categories of a pod stay reserved until the pod and all its containers have released them.
func TestCategoriesAreCounted(t *testing.T) {
	const process = "system_u:system_r:container_t:s0:c11,c22"
	s, err := NewSELinux(true, 0)
	must(t, err)
	reserved := func() bool { return errors.Is(selinux.CheckLabel(process), selinux.ErrMCSAlreadyExists) }
	for range 3 {
		s.Reserve(process)
	}
	for left := 2; left >= 0; left-- {
		if !reserved() {
			t.Errorf("categories are free, although they have %d users", left+1)
		}
		s.Release(process)
	}
	if reserved() {
		t.Error("categories without users are not free")
	}
	// Labels without categories, and no label.
	for _, label := range []string{"", "system_u:system_r:container_t:s0", "nonsense"} {
		s.Reserve(label)
		s.Release(label)
		s.Release(label)
	}
}
