// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestCDIDevices(t *testing.T) {
	config := &runtimeapi.ContainerConfig{
		CDIDevices: []*runtimeapi.CDIDevice{{Name: "v/c=2"}, {Name: "v/c=1"}, {Name: "v/c=2"}},
		Annotations: map[string]string{
			"cdi.k8s.io/b": "v.test/c=4,v.test/c=3", "cdi.k8s.io/a": "v.test/c=4", "other": "v.test/c=5",
		},
	}
	got, err := CDIDevices(config)
	if diff := cmp.Diff([]string{"v/c=2", "v/c=1", "v.test/c=3", "v.test/c=4"}, got); diff != "" || err != nil {
		t.Errorf("error %v, -want +got\n%s", err, diff)
	}
	config.Annotations["cdi.k8s.io/bad"] = "no device"
	if _, err := CDIDevices(config); !errdefs.IsInvalidArgument(err) {
		t.Errorf("error %v, want class InvalidArgument", err)
	}
}

func TestInjectUnknownCDI(t *testing.T) {
	s := &specs.Spec{}
	if err := InjectCDI(t.Context(), s, []string{"no-vendor.test/class=device"}); !errdefs.IsNotFound(err) {
		t.Errorf("error %v, want class NotFound", err)
	}
	if diff := cmp.Diff(&specs.Spec{}, s); diff != "" {
		t.Errorf("the spec was changed (-want +got):\n%s", diff)
	}
}
