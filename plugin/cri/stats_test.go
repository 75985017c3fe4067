// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerStats of a container that is not running is an error; lists have the container.
func TestStatsOfAContainerThatDoesNotRun(t *testing.T) {
	c := dial(t, withSomePods(t))
	for _, id := range []string{"cca1", "ccb2"} { // created, exited
		_, err := c.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: id})
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("ContainerStats of %s: %v", id, err)
		}
		list, err := c.ListContainerStats(t.Context(), &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{Id: id}})
		if err != nil || len(list.Stats) != 1 {
			t.Errorf("ListContainerStats of %s: %v, %v", id, list, err)
		}
	}
}

func TestMeasureEach(t *testing.T) {
	var records, want []int
	for i := range 100 * maxMeasuring {
		records, want = append(records, i), append(want, -i)
	}
	got, err := measureEach(t.Context(), records, func(i int) int { return -i })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v: not in the order of the records", got, err)
	}
}
