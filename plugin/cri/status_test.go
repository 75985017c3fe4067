// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd/errdefs"
)

// fakeNode is a node in a chosen state.
type fakeNode struct {
	network  error
	warnings map[string]string
	systemd  bool
	cidrs    []string
}

func (n *fakeNode) NetworkStatus() error { return n.network }
func (n *fakeNode) Handlers() []*runtimeapi.RuntimeHandler {
	return []*runtimeapi.RuntimeHandler{{Name: ""}, {Name: "lite"}}
}
func (n *fakeNode) SystemdCgroup() bool { return n.systemd }
func (n *fakeNode) UsePodCIDRs(_ context.Context, cidrs string) error {
	if cidrs == "bad" {
		return errdefs.ErrInvalidArgument
	}
	n.cidrs = append(n.cidrs, cidrs)
	return nil
}
func (n *fakeNode) Deprecations(context.Context) (map[string]string, error) { return n.warnings, nil }
func (n *fakeNode) Info(context.Context) (map[string]string, error) {
	return map[string]string{"config": "{}"}, nil
}

func serve(t *testing.T, n *fakeNode) runtimeapi.RuntimeServiceClient {
	t.Helper()
	s := New(Deps{Node: n})
	s.SetReady()
	return dial(t, s)
}

func TestStatusConditions(t *testing.T) {
	ready := &runtimeapi.RuntimeCondition{Type: "RuntimeReady", Status: true}
	for name, tc := range map[string]struct {
		node *fakeNode
		want []*runtimeapi.RuntimeCondition
	}{
		"all true": {&fakeNode{}, []*runtimeapi.RuntimeCondition{
			ready, {Type: "NetworkReady", Status: true}, {Type: "ContainerdHasNoDeprecationWarnings", Status: true},
		}},
		"all false but RuntimeReady": {&fakeNode{network: errors.New("no CNI config"), warnings: map[string]string{"io.x": "use y"}}, []*runtimeapi.RuntimeCondition{
			ready,
			{Type: "NetworkReady", Reason: "NetworkPluginNotReady", Message: "Network plugin returns error: no CNI config"},
			{Type: "ContainerdHasNoDeprecationWarnings", Reason: "ContainerdHasDeprecationWarnings", Message: `{"io.x":"use y"}`},
		}},
	} {
		answer, err := serve(t, tc.node).Status(t.Context(), &runtimeapi.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, answer.GetStatus().GetConditions(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if answer.GetInfo() != nil {
			t.Errorf("%s: info without verbose: %v", name, answer.GetInfo())
		}
	}
	answer, err := serve(t, &fakeNode{}).Status(t.Context(), &runtimeapi.StatusRequest{Verbose: true})
	if err != nil || answer.GetInfo()["config"] != "{}" || len(answer.GetRuntimeHandlers()) != 2 {
		t.Errorf("verbose status = %v, %v", answer, err)
	}
}

func TestRuntimeConfig(t *testing.T) {
	for systemd, want := range map[bool]runtimeapi.CgroupDriver{
		true: runtimeapi.CgroupDriver_SYSTEMD, false: runtimeapi.CgroupDriver_CGROUPFS,
	} {
		answer, err := serve(t, &fakeNode{systemd: systemd}).RuntimeConfig(t.Context(), &runtimeapi.RuntimeConfigRequest{})
		if err != nil || answer.GetLinux().GetCgroupDriver() != want {
			t.Errorf("RuntimeConfig = %v, %v, want %s", answer, err, want)
		}
	}
}

func TestUpdateRuntimeConfig(t *testing.T) {
	n := &fakeNode{}
	c := serve(t, n)
	update := func(cidrs string) error {
		_, err := c.UpdateRuntimeConfig(t.Context(), &runtimeapi.UpdateRuntimeConfigRequest{
			RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: cidrs}},
		})
		return err
	}
	if err := update("bad"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a bad range: %v", err)
	}
	if err := update("10.1.0.0/16,fd00::/64"); err != nil {
		t.Error(err)
	}
	if _, err := c.UpdateRuntimeConfig(t.Context(), &runtimeapi.UpdateRuntimeConfigRequest{}); err != nil {
		t.Errorf("an empty request: %v", err)
	}
	if diff := cmp.Diff([]string{"10.1.0.0/16,fd00::/64", ""}, n.cidrs); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}
