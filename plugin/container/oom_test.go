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

// A scope of systemd is gone before anybody has read the counter in it.
func TestOutOfMemoryWithoutCgroup(t *testing.T) {
	none := &v2.Metrics{MemoryEvents: &v2.MemoryEvents{Oom: 1}}
	for _, tc := range []struct {
		name      string
		code      uint32
		metrics   proto.Message
		announced bool // the kill
		want      string
	}{
		{"the shim has counted", 137, &v2.Metrics{MemoryEvents: &v2.MemoryEvents{OomKill: 1}}, false, ReasonOOMKilled},
		{"a child was the victim", 1, &v2.Metrics{MemoryEvents: &v2.MemoryEvents{OomKill: 1}}, false, ReasonOOMKilled},
		{"v1", 137, &v1.Metrics{MemoryOomControl: &v1.MemoryOomControl{OomKill: 1}}, false, ReasonOOMKilled},
		{"the shim has counted none", 137, none, false, ReasonError},
		{"the shim does not know", 137, nil, false, ReasonError},
		{"metrics of something else", 137, &v2.PidsStat{Current: 1}, false, ReasonError},
		{"containerd has announced it", 137, nil, true, ReasonOOMKilled},
		{"a container that has succeeded", 0, nil, true, ReasonCompleted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newMachine()
			f.gone, f.metrics = true, tc.metrics
			m := newManager(t, f, t.TempDir())
			id := mustStart(t, m, "app")
			if tc.announced {
				m.AnnounceOOM(id)
			}
			r := record(t, m, id)
			f.task(id).end(tc.code)
			<-r.life.ended
			if got := record(t, m, id).Exit.Reason; got != tc.want {
				t.Errorf("reason %s, want %s", got, tc.want)
			}
		})
	}
}

// Another shim than ours remembers nothing: its announcements come in their order,
// that of the exit last.
func TestOutOfMemoryIsAwaited(t *testing.T) {
	for want, oom := range map[string]bool{ReasonOOMKilled: true, ReasonError: false} {
		f := newMachine()
		f.gone, f.other = true, true
		m := newManager(t, f, t.TempDir())
		m.patience = time.Hour
		id := mustStart(t, m, "app")
		r := record(t, m, id)
		f.task(id).end(137)
		if oom {
			m.AnnounceOOM(id)
		}
		m.Announce(runtime.Exit{ID: id, Code: 137, At: time.Unix(200, 0)})
		<-r.life.ended
		if got := record(t, m, id).Exit.Reason; got != want {
			t.Errorf("reason %s, want %s", got, want)
		}
	}
}
