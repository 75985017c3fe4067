// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits for Windows are rejected first, whatever else the request has. Annotations change no
// answer.
func TestUpdateOfWindowsResources(t *testing.T) {
	c := dial(t, withSomePods(t))
	linux, windows := &runtimeapi.LinuxContainerResources{CpuShares: 2}, &runtimeapi.WindowsContainerResources{CpuShares: 2}
	const exited = "ccb2"
	for name, tc := range map[string]struct {
		request *runtimeapi.UpdateContainerResourcesRequest
		want    codes.Code
	}{
		"windows":           {&runtimeapi.UpdateContainerResourcesRequest{ContainerId: exited, Windows: windows}, codes.InvalidArgument},
		"linux and windows": {&runtimeapi.UpdateContainerResourcesRequest{ContainerId: exited, Linux: linux, Windows: windows}, codes.InvalidArgument},
		"neither":           {&runtimeapi.UpdateContainerResourcesRequest{ContainerId: exited}, codes.InvalidArgument},
		"linux":             {&runtimeapi.UpdateContainerResourcesRequest{ContainerId: exited, Linux: linux}, codes.FailedPrecondition},
		"annotations": {&runtimeapi.UpdateContainerResourcesRequest{
			ContainerId: exited, Linux: linux, Annotations: map[string]string{"a": "b"},
		}, codes.FailedPrecondition},
	} {
		if _, err := c.UpdateContainerResources(t.Context(), tc.request); status.Code(err) != tc.want {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}
