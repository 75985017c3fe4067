// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestRunStopRemove(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, sharedPID("web"))
	want := "create record\npin ipc net uts\nmake files\nattach /ns/net\ntune\nstart task\nsave ready"
	if diff := cmp.Diff(want, f.Trace()); diff != "" {
		t.Errorf("steps of run (-want +got):\n%s", diff)
	}
	r, err := m.Get(id)
	if err != nil || r.State != Ready || r.Network.IP != "10.0.0.2" || r.PID != 42 || r.Handler != "lite" {
		t.Errorf("record = %+v, %v", r, err)
	}

	f.Forget()
	mustStop(t, m, f, id)
	// The network is detached in parallel with the deletion of the task.
	want = "save stopping\nstop containers\ndetach\nstop task\nunpin\nremove files\nsave stopped"
	other := strings.Replace(want, "detach\nstop task", "stop task\ndetach", 1)
	if got := f.Trace(); got != want && got != other {
		t.Errorf("steps of stop:\n%s\nwant, in either order of the network and the task:\n%s", got, want)
	}

	f.Forget()
	mustRemove(t, m, f, id)
	want = "remove containers\ndelete record"
	if diff := cmp.Diff(want, f.Trace()); diff != "" {
		t.Errorf("steps of remove (-want +got):\n%s", diff)
	}
	checkLeft(t, f)
	if _, err := m.Get(id); !errdefs.IsNotFound(err) {
		t.Errorf("Get of a removed pod: %v", err)
	}
}

// A bad SELinux option is refused before anything is created, and the name can be used again.
func TestBadSELinuxOptions(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	bad := podConfig("web")
	bad.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		SelinuxOptions: &runtimeapi.SELinuxOption{Level: "bad"},
	}}
	if _, err := m.Run(t.Context(), bad, ""); !errdefs.IsInvalidArgument(err) {
		t.Errorf("Run = %v, want InvalidArgument", err)
	}
	if trace := f.Trace(); trace != "" {
		t.Errorf("steps of a refused request:\n%s", trace)
	}
	id := mustRun(t, m, podConfig("web"))
	if r, _ := m.Get(id); r.SELinux.Process != testLabel {
		t.Errorf("labels of the pod: %+v", r.SELinux)
	}
}

func TestHostNetworkPodHasNoNetwork(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	c := ownPID("web")
	c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
	mustRun(t, m, c)
	if diff := cmp.Diff("create record\npin ipc\nmake files\nstart task\nsave ready", f.Trace()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// Each step of Run fails in turn: Run returns the error of the step, all resources are released,
// and the name can be used again.
func TestRunRollsBackEveryStep(t *testing.T) {
	for _, step := range []string{"create record", "make files", "pin ipc net uts", "attach /ns/net", "tune", "start task", "save ready"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f)
			f.Fail(step, errBroken)
			if _, err := m.Run(t.Context(), sharedPID("web"), ""); !errors.Is(err, errBroken) {
				t.Fatalf("Run = %v", err)
			}
			checkLeft(t, f)
			if list := m.List(); len(list) != 0 {
				t.Errorf("the pod of a failed Run is listed: %v", list)
			}
			f.Fail(step, nil)
			if _, err := m.Run(t.Context(), sharedPID("web"), ""); err != nil {
				t.Errorf("second try: %v", err)
			}
		})
	}
}

// If a step of the rollback fails, the pod stays and can be stopped and removed.
func TestRemoveCompletesARollback(t *testing.T) {
	for _, step := range []string{"detach", "unpin", "remove files", "stop task", "delete record"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f)
			f.Fail("save ready", errBroken)
			f.Fail(step, errBroken)
			if _, err := m.Run(t.Context(), sharedPID("web"), ""); !errors.Is(err, errBroken) {
				t.Fatalf("Run = %v", err)
			}
			list := m.List()
			if len(list) != 1 || list[0].State != Stopping {
				t.Fatalf("pods = %+v, want the one whose rollback is incomplete", list)
			}
			f.Fail(step, nil)
			after := newManager(t, f) // the daemon after a restart
			recoverAll(t, after)
			mustRemove(t, after, f, list[0].ID)
			checkLeft(t, f)
		})
	}
}

// Each step of Stop and Remove fails in turn: the other steps run, and a second call completes the
// removal.
func TestRemoveResumes(t *testing.T) {
	for _, step := range []string{
		"stop containers", "detach", "stop task", "unpin",
		"remove containers", "remove files", "delete record",
	} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f)
			id := mustRun(t, m, sharedPID("web"))
			f.Fail(step, errBroken)
			if err := m.Remove(t.Context(), id, fakeMembers{f}); !errors.Is(err, errBroken) {
				t.Fatalf("Remove = %v", err)
			}
			if _, err := m.Get(id); err != nil {
				t.Fatalf("Get after a failed Remove: %v", err)
			}
			if step == "stop containers" && strings.Contains(strings.Join(f.Left(), " "), "address") {
				t.Error("the network waits for containers that do not stop")
			}
			f.Fail(step, nil)
			mustRemove(t, m, f, id)
			checkLeft(t, f)
		})
	}
}

// Remove joins a Stop in progress: a second CNI DEL would run while the namespace is being removed.
func TestRemoveJoinsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f)
		id := mustRun(t, m, sharedPID("web"))
		f.Forget()
		unblock := f.Block("unpin")
		results := make(chan error, 2)
		go func() { results <- m.Stop(t.Context(), id, fakeMembers{f}) }()
		synctest.Wait()
		go func() { results <- m.Remove(t.Context(), id, fakeMembers{f}) }()
		synctest.Wait()
		if got := strings.Count(f.Trace(), "detach"); got != 1 {
			t.Errorf("the network was detached %d times, want once:\n%s", got, f.Trace())
		}
		unblock()
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		checkLeft(t, f)
	})
}

func TestStopAndRemoveAreIdempotent(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	for range 2 {
		if err := m.Stop(t.Context(), "unknown", fakeMembers{f}); err != nil {
			t.Errorf("Stop of an unknown pod: %v", err)
		}
		if err := m.Remove(t.Context(), "unknown", fakeMembers{f}); err != nil {
			t.Errorf("Remove of an unknown pod: %v", err)
		}
	}
}

func TestRetryTakesOverATimedOutRun(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	unblock := f.Block("attach /ns/net")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Run(ctx, ownPID("web"), ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run = %v", err)
	}
	unblock()
	id := mustRun(t, m, ownPID("web"))
	if n := strings.Count(f.Trace(), "create record"); n != 1 {
		t.Errorf("%d pods were created", n)
	}
	if _, err := m.Get(id); err != nil {
		t.Error(err)
	}
	if _, err := m.Run(t.Context(), ownPID("web"), ""); !errdefs.IsAlreadyExists(err) {
		t.Errorf("the same pod again: %v, want AlreadyExists", err)
	}
}

func TestBadConfigs(t *testing.T) {
	for name, tc := range map[string]struct {
		config  *runtimeapi.PodSandboxConfig
		handler string
		class   func(error) bool
	}{
		"no config":          {config: nil, class: errdefs.IsInvalidArgument},
		"no metadata":        {config: &runtimeapi.PodSandboxConfig{}, class: errdefs.IsInvalidArgument},
		"unknown handler":    {config: ownPID("web"), handler: "kata", class: errdefs.IsInvalidArgument},
		"windows":            {config: &runtimeapi.PodSandboxConfig{Metadata: podConfig("w").Metadata, Windows: &runtimeapi.WindowsPodSandboxConfig{}}, class: errdefs.IsInvalidArgument},
		"control characters": {config: podConfig("we\nb"), class: errdefs.IsInvalidArgument},
	} {
		f := newFakeNode()
		m := newManager(t, f)
		if _, err := m.Run(t.Context(), tc.config, tc.handler); !tc.class(err) {
			t.Errorf("%s: %v", name, err)
		}
		if f.Trace() != "" {
			t.Errorf("%s: steps of a refused request:\n%s", name, f.Trace())
		}
	}
}

func TestRecover(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config *runtimeapi.PodSandboxConfig
		crash  string // step of Run in which the daemon dies
		gone   string // resource that is gone after the restart
		boot   string // boot ID after the restart
		want   State  // "" for no pod
	}{
		{name: "ready", config: ownPID("web"), want: Ready},
		{name: "ready with init", config: sharedPID("web"), want: Ready},
		{name: "rebooted", config: ownPID("web"), gone: "namespaces", want: Stopping},
		{name: "rebooted, none of its own", config: ownPID("web"), boot: "second", want: Stopping},
		{name: "init has ended", config: sharedPID("web"), gone: "task", want: Stopping},
		{name: "holder has ended", config: ownPID("web"), gone: "task", want: Ready},
		{name: "crashed while creating", config: sharedPID("web"), crash: "start task", want: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeNode()
			before := newManager(t, f)
			if tc.crash != "" {
				t.Cleanup(f.Block(tc.crash))
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, _ = before.Run(ctx, tc.config, "")
				f.Await(t, tc.crash)
			} else {
				mustRun(t, before, tc.config)
				before.Close()
			}
			f.Lose(tc.gone)
			f.Forget()

			after := newManager(t, f)
			if tc.boot != "" {
				after.BootID = tc.boot
			}
			recoverAll(t, after)
			if tc.gone == "task" {
				f.Await(t, map[State]string{Stopping: "save stopping", Ready: "stop task\nstart task\nsave ready"}[tc.want])
				after.Close() // waits until the watch has changed the record
			}
			list := after.List()
			if tc.want == "" {
				if len(list) != 0 || len(f.Left()) != 0 {
					t.Errorf("pods = %v, left: %v", list, f.Left())
				}
				return
			}
			if len(list) != 1 || list[0].State != tc.want {
				t.Fatalf("pods = %+v, want one in state %s", list, tc.want)
			}
			mustRemove(t, after, f, list[0].ID)
			checkLeft(t, f)
		})
	}
}

// A record that cannot be decoded does not prevent the recovery of others.
func TestRecoverSkipsBrokenRecords(t *testing.T) {
	f := newFakeNode()
	mustRun(t, newManager(t, f), ownPID("web"))
	for id, content := range map[string]string{"bad1": "{", "bad2": "null", "bad3": `{"id":"other"}`, "bad4": ""} {
		f.SandboxRecords[id] = []byte(content)
	}
	after := recoveredManager(t, f)
	if list := after.List(); len(list) != 1 {
		t.Errorf("pods = %v", list)
	}
}

func TestPodIsNotReadyOnceItsInitHasEnded(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, sharedPID("web"))
	f.loseTask()
	f.Await(t, "save stopping")
	m.watches.running.Wait()
	if r, _ := m.Get(id); r.State != Stopping {
		t.Errorf("state = %s", r.State)
	}
}

// A pod whose shim is not installed is refused before anything is created.
func TestHandlerWithoutShim(t *testing.T) {
	f := newFakeNode()
	f.shim = errdefs.ErrFailedPrecondition
	if _, err := newManager(t, f).Run(t.Context(), ownPID("web"), ""); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Run = %v", err)
	}
	if f.Trace() != "" {
		t.Errorf("steps of a refused request:\n%s", f.Trace())
	}
}

// With another shim than ours the pod has an init, and its containers still have PID namespaces of
// their own.
func TestPodOfOtherShimHasInit(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id, err := m.Run(t.Context(), ownPID("web"), "runc")
	if err != nil {
		t.Fatal(err)
	}
	want := "create record\npin ipc net uts\nmake files\nattach /ns/net\ntune\nstart task\nsave ready"
	if diff := cmp.Diff(want, f.Trace()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	r, err := m.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	if ns := r.SpecPod().Namespaces; ns.PID != "" {
		t.Errorf("containers would join the PID namespace %s", ns.PID)
	}
	mustRemove(t, m, f, id)
	checkLeft(t, f)
}
