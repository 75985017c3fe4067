// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// questions are commands whose output has the attributes of their process. They do not depend on
// the container's PATH.
var questions = [][]string{
	{"/bin/cat", "/proc/self/status"},
	{"/bin/cat", "/proc/self/limits", "/proc/self/cgroup", "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/mountinfo"},
	{"/bin/sh", "-c", "/bin/env; PATH=/bin:/usr/bin; cat /proc/self/attr/current 2>&1; readlink /proc/self/ns/* /proc/self/root /proc/self/cwd; umask; ulimit -a"},
	{"/bin/sh", "-c", "PATH=/bin:/usr/bin; cd /proc/self/fd; for f in *; do echo $f $(readlink $f); done; stat -L -c %u 0 1 2"},
}

// volatile are the parts of the output that differ between two processes that are started in one
// way, and the ignored signals: runc leaves those of the C library alone, which a caller may
// ignore.
var volatile = regexp.MustCompile(`(?m)^(Name|Pid|Tgid|PPid|NStgid|NSpid|NSpgid|NSsid|FDSize|SigQ|SigIgn|Vm\w+|Rss\w+|Hugetlb\w+|(non)?voluntary_ctxt_switches):.*\n|:\[\d+\]$`)

// noneIgnored matches the status of a process that ignores no signal.
var noneIgnored = regexp.MustCompile(`(?m)^SigIgn:\t0+$`)

// TestFastExec runs the containers of all cases with the option FastExec, executes commands in
// each, and compares the attributes of their processes with those that `runc exec` starts in the
// same container. It counts the containers in which the shim needed no runtime.
func TestFastExec(t *testing.T) {
	f := newFixture(t)
	o := harness.FromEnv()
	o.Daemon, o.FastExec = harness.Lite, true
	log := filepath.Join(t.TempDir(), "log")
	o.Runtime = recordingRuntime(t, log)
	e := execBench{newBench(t, o, f), log, &counts{}}
	for _, c := range groups(f) {
		e.pod(t, c)
	}
	t.Logf("execs in %d containers without the runtime; in %d with it: %q", len(e.fast), len(e.slow), e.slow)
	if len(e.fast) < len(e.slow) {
		t.Error("most containers need nothing that only the runtime does")
	}
}

// recordingRuntime returns the path of a runc that records its arguments.
func recordingRuntime(t *testing.T, log string) string {
	t.Helper()
	real, err := filepath.Abs("../../../.tools/bin/runc")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "runc")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s\nexec %s \"$@\"\n", log, real)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

type execBench struct {
	bench
	log string
	*counts
}

// counts are the names of containers by the way in which their execs were started.
type counts struct{ fast, slow []string }

// pod runs a pod and its containers and compares their execs.
func (e execBench) pod(t *testing.T, c podCase) {
	t.Helper()
	ctx := t.Context()
	config := e.PodConfig("exec")
	if c.change != nil {
		c.change(config)
	}
	answer, err := e.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: c.handler})
	if err != nil {
		return // TestSpecs checks which pods are refused
	}
	defer func() {
		if err := e.RemovePod(harness.After(t), answer.PodSandboxId); err != nil {
			t.Errorf("%s: remove pod: %v", c.name, err)
		}
	}()
	ids := map[string]string{}
	for _, container := range c.containers {
		change := container.change
		container.runs = true
		container.change = func(config *runtimeapi.ContainerConfig) {
			if change != nil {
				change(config)
			}
			config.Command, config.Args, config.Tty, config.Stdin = []string{"/bin/sleep", "1000"}, nil, false, false
		}
		id, err := e.create(ctx, answer.PodSandboxId, config, container, ids[container.target])
		if err != nil {
			t.Logf("%s/%s does not run: %v", c.name, container.name, err)
			continue
		}
		ids[container.name] = id
		e.compare(t, c.name+"/"+container.name, id)
	}
}

func (e execBench) compare(t *testing.T, name, id string) {
	t.Helper()
	used := 0
	for _, command := range questions {
		before := e.runtimeExecs(t)
		got, err := e.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command})
		if err != nil {
			t.Errorf("%s: %s: %v", name, command, err)
			return
		}
		used += e.runtimeExecs(t) - before
		if text := string(got.Stdout); strings.Contains(text, "SigIgn:") && !noneIgnored.MatchString(text) && used == 0 {
			t.Errorf("%s: a signal is ignored:\n%s", name, text)
		}
		want, err := e.runtimeExec(t.Context(), id, command)
		if err != nil {
			t.Errorf("%s: %s: with the runtime: %v", name, command, err)
			return
		}
		if diff := cmp.Diff(volatile.ReplaceAllString(want, ""), volatile.ReplaceAllString(string(got.Stdout), "")); diff != "" {
			t.Errorf("%s: %s (-with the runtime +without):\n%s", name, command, diff)
		}
	}
	switch used {
	case 0:
		e.fast = append(e.fast, name)
	case len(questions):
		e.slow = append(e.slow, name)
	default:
		t.Errorf("%s: some execs used the runtime", name)
	}
}

// runtimeExecs returns how many execs the shims started with the runtime.
func (e execBench) runtimeExecs(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(e.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), " exec --process ")
}

// runtimeExec runs a command by `runc exec`, which the shim uses for a process with a field that it
// does not know; runc ignores the field.
func (e execBench) runtimeExec(ctx context.Context, id string, command []string) (string, error) {
	container, err := e.containerd.LoadContainer(ctx, id)
	if err != nil {
		return "", err
	}
	spec, err := container.Spec(ctx)
	if err != nil {
		return "", err
	}
	spec.Process.Args, spec.Process.Terminal, spec.Process.User.Username = command, false, "Windows only"
	task, err := container.Task(ctx, nil)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	process, err := task.Exec(ctx, "reference", spec.Process, cio.NewCreator(cio.WithStreams(nil, &stdout, &stderr)))
	if err != nil {
		return "", err
	}
	ended, err := process.Wait(ctx)
	if err == nil {
		err = process.Start(ctx)
	}
	if err == nil {
		<-ended
		process.IO().Wait()
	}
	_, deleted := process.Delete(ctx)
	return stdout.String(), errors.Join(err, deleted)
}
