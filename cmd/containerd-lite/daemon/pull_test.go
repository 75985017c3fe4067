// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
)

// slowPull is a daemon whose pull takes a time, and then succeeds or fails.
type slowPull struct {
	grpc.ClientConnInterface // nil
	takes                    time.Duration
	err                      error
}

func (s slowPull) Invoke(_ context.Context, method string, _, reply any, _ ...grpc.CallOption) error {
	if strings.HasSuffix(method, "/PullImage") {
		time.Sleep(s.takes)
		reply.(*runtimeapi.PullImageResponse).ImageRef = "sha256:1"
		return s.err
	}
	step := activity.Step{Name: "registry reg.test", Open: true, Detail: "1.0 of 4.0 MiB"}
	other := activity.Call{RPC: "PullImage", Objects: map[string]string{"image": "other"}, Steps: []activity.Step{{Open: true, Detail: "no"}}}
	call := activity.Call{RPC: "PullImage", Objects: map[string]string{"image": "app"}, Steps: []activity.Step{step}}
	data, err := json.Marshal(plugin.Status{Calls: []plugin.Activity{{Call: other}, {Call: call}}})
	proto.Merge(reply.(proto.Message), wrapperspb.Bytes(data))
	return err
}

func TestPullImage(t *testing.T) {
	for name, tt := range map[string]struct {
		terminal bool
		want     string
	}{
		"a file":     {false, "1.0 of 4.0 MiB\n1.0 of 4.0 MiB\npulled app as sha256:1 in 12s\n"},
		"a terminal": {true, eraseLine + "1.0 of 4.0 MiB" + eraseLine + "1.0 of 4.0 MiB" + eraseLine + "pulled app as sha256:1 in 12s\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			show := progress{&out, tt.terminal, linePeriod}
			if err := pullImage(t.Context(), slowPull{takes: 12 * time.Second}, "app", nil, show); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != tt.want {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
		})
	}
}

func TestPullFails(t *testing.T) {
	var out bytes.Buffer
	err := pullImage(t.Context(), slowPull{err: status.Error(codes.NotFound, "no such image")}, "app", nil, progress{out: &out, period: time.Hour})
	if err == nil || !strings.Contains(err.Error(), "no such image") || errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, out.String())
	}
}
