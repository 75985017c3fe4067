// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/plugin"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/check"
)

// begin is when the calls of these tests began.
var begin = time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)

func activities() []plugin.Activity {
	return []plugin.Activity{
		{Pod: "ns/web", Call: activity.Call{
			RPC: "StopPodSandbox", Objects: map[string]string{"pod": "p1"}, Began: begin, Took: 3 * time.Second, Error: "deadline",
			Steps: []activity.Step{
				{Name: "shim of p1: kill", Began: begin.Add(time.Second), Took: 2 * time.Second, Open: true},
				{Name: "CNI plugin bridge: DEL", Began: begin, Took: time.Second},
			},
		}},
		{Call: activity.Call{
			RPC: "PullImage", Objects: map[string]string{"image": "busybox:1"}, Began: begin, Took: time.Second,
			Steps: []activity.Step{{Name: "registry r", Took: time.Second, Open: true, Detail: "1.0 MiB"}},
		}},
		{Call: activity.Call{RPC: "RunPodSandbox", Objects: map[string]string{"pod": "ns/x"}, Began: begin}},
	}
}

func TestPrintStatus(t *testing.T) {
	var out bytes.Buffer
	failed := plugin.Activity{Call: activity.Call{RPC: "PullImage", Objects: map[string]string{"image": "a"}, Began: begin, Error: "no such\n\x1bhost"}}
	now := plugin.Status{Began: time.Now(), Pods: 3, Ready: 2, Panics: 1, Calls: activities(), Ended: []plugin.Activity{failed}}
	for range maxLines {
		now.Calls = append(now.Calls, activities()[2])
	}
	printStatus(&out, now, []check.Finding{{Level: check.Error, Check: "disk", What: "full", Do: "free"}}, shimUse{2, 5 << 20})
	waits := "  RunPodSandbox ns/x, for 0s: waits for an equal call, a lock, or the container\n"
	want := `up 0s; 3 pods, 2 ready; 0 containers, 0 running; 2 shims, 5 MiB; 0 goroutines; 1 panics, each a bug with its stack in the log
error   disk: full
        → free
calls in progress: 15
  StopPodSandbox ns/web, for 3s (its caller has gone): shim of p1: kill, for 2s
  PullImage busybox:1, for 1s: registry r, for 1s (1.0 MiB)
` + strings.Repeat(waits, maxLines-2) + `  and 3 that began later
errors of the last hour: 1
  12:00:00 PullImage a: no such  host
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPrintPod(t *testing.T) {
	var out bytes.Buffer
	now := plugin.Status{Calls: activities()}
	if err := printPod(&out, now, "web"); err != nil {
		t.Error(err)
	}
	want := `12:00:00.000  3s         StopPodSandbox ns/web: deadline
  +1s         2s         shim of p1: kill  in progress 
  +0s         1s         CNI plugin bridge: DEL
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := printPod(&out, now, "other"); err == nil {
		t.Error("no error for an unknown pod")
	}
}

func TestPrintPulls(t *testing.T) {
	var out bytes.Buffer
	printPulls(&out, plugin.Status{Calls: activities()})
	printPulls(&out, plugin.Status{})
	if want := "PullImage busybox:1, for 1s: registry r, for 1s (1.0 MiB)\nno pull in progress\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestShims(t *testing.T) {
	root := t.TempDir()
	for pid, name := range map[int]string{7: "containerd-shim", 8: "sleep", 9: "containerd-shim"} {
		dir := filepath.Join(root, "proc", fmt.Sprint(pid))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"comm": name + "\n", "statm": "100 2 1 1 0 1 0\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if use := shims(root); use != (shimUse{2, 4 * os.Getpagesize()}) {
		t.Errorf("%+v", use)
	}
}
