// SPDX-License-Identifier: Apache-2.0

package execsync

import (
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestRequest(t *testing.T) {
	want := Command{Args: []string{"sh", "-c", "echo \"<ü&>\"", ""}, Timeout: 3 * time.Second}
	request, err := want.Request("web", "probe")
	if err != nil {
		t.Fatal(err)
	}
	if request.ID != "web" || request.ExecID != "probe" {
		t.Errorf("request = %v, want exec probe of task web", request)
	}
	got, err := ParseRequest(request)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("command (-want +got): %v\n%s", err, diff)
	}
	for _, bad := range []*anypb.Any{nil, {}, {Value: []byte("{")}, {Value: []byte(`{"args":"x"}`)}} {
		if got, err := ParseRequest(&taskapi.ExecProcessRequest{Spec: bad}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: %+v, %v; want an invalid argument", bad, got, err)
		}
	}
}

func TestExit(t *testing.T) {
	for _, want := range []int{0, 7, 255} {
		if got, err := ParseExit(Exit(want)); err != nil || got != uint32(want) {
			t.Errorf("exit code %d: %d, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "-1", "x", "4294967296"} {
		if got, err := ParseExit(&anypb.Any{TypeUrl: Exited, Value: []byte(bad)}); err == nil {
			t.Errorf("exit code %q: %d, want an error", bad, got)
		}
	}
}
