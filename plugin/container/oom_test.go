// SPDX-License-Identifier: Apache-2.0

package container

import (
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// systemd removes a scope before the daemon reads the counter in it.
func TestOOMKilledWithoutCgroup(t *testing.T) {
	none := &v2.Metrics{MemoryEvents: &v2.MemoryEvents{Oom: 1}}
	for _, tc := range []struct {
		name    string
		code    uint32
		metrics proto.Message
		event   bool // containerd has published an OOM event
		want    string
	}{
		{"the shim has counted", 137, &v2.Metrics{MemoryEvents: &v2.MemoryEvents{OomKill: 1}}, false, ReasonOOMKilled},
		{"a child was the victim", 1, &v2.Metrics{MemoryEvents: &v2.MemoryEvents{OomKill: 1}}, false, ReasonOOMKilled},
		{"v1", 137, &v1.Metrics{MemoryOomControl: &v1.MemoryOomControl{OomKill: 1}}, false, ReasonOOMKilled},
		{"the shim has counted no kill", 137, none, false, ReasonError},
		{"the shim does not know", 137, nil, false, ReasonError},
		{"metrics of another type", 137, &v2.PidsStat{Current: 1}, false, ReasonError},
		{"containerd has published an event", 137, nil, true, ReasonOOMKilled},
		{"exit code 0", 0, nil, true, ReasonCompleted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeNode()
			f.gone, f.Metrics = true, tc.metrics
			m := newManager(t, f, t.TempDir())
			id := mustStart(t, m, "app")
			if tc.event {
				m.OnOOM(id)
			}
			r := record(t, m, id)
			f.Task(id).Exit(tc.code)
			<-r.life.ended
			if got := record(t, m, id).Exit.Reason; got != tc.want {
				t.Errorf("reason %s, want %s", got, tc.want)
			}
		})
	}
}

// A shim other than ours does not remember a kill. Its events arrive in order, the exit last.
func TestOOMEventIsAwaited(t *testing.T) {
	for want, oom := range map[string]bool{ReasonOOMKilled: true, ReasonError: false} {
		f := newFakeNode()
		f.gone, f.other = true, true
		m := newManager(t, f, t.TempDir())
		m.watcher.exitEventTimeout = time.Hour
		id := mustStart(t, m, "app")
		r := record(t, m, id)
		f.Task(id).Exit(137)
		if oom {
			m.OnOOM(id)
		}
		m.OnExit(runtime.Exit{ID: id, Code: 137, At: time.Unix(200, 0)})
		<-r.life.ended
		if got := record(t, m, id).Exit.Reason; got != want {
			t.Errorf("reason %s, want %s", got, want)
		}
	}
}
