// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	runc "github.com/containerd/go-runc"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
)

// exited returns a runtime with the state of a container whose init has exited, and the directories
// that stand for its cgroups. The state file has the keys that runc 1.5 writes.
func exited(t *testing.T, change func(state map[string]any)) (r *Runtime, cgroups []string) {
	t.Helper()
	r = New(&options.Options{Root: t.TempDir()}, "ns", "", noHold)
	top := t.TempDir()
	cgroups = []string{filepath.Join(top, "memory", "web"), filepath.Join(top, "pids", "web")}
	state := map[string]any{
		"id":                "web",
		"init_process_pid":  4711,
		"cgroup_paths":      map[string]string{"memory": cgroups[0], "pids": cgroups[1]},
		"intel_rdt_path":    "",
		"rootless":          false,
		"namespace_paths":   map[string]string{"NEWPID": "/proc/4711/ns/pid"},
		"config.namespaces": []map[string]string{{"type": "NEWNS"}, {"type": "NEWPID"}},
		"config.cgroups":    map[string]any{"path": "/web"},
	}
	if change != nil {
		change(state)
	}
	dir := filepath.Join(r.cli.Root, "web")
	for _, path := range append(cgroups, dir) {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), nested(t, state), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, execFifo), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, cgroups
}

// nested encodes a map. Keys with the prefix "config." become an object.
func nested(t *testing.T, flat map[string]any) []byte {
	t.Helper()
	config, all := map[string]any{}, map[string]any{}
	for key, value := range flat {
		if name, ok := strings.CutPrefix(key, "config."); ok {
			config[name] = value
		} else {
			all[key] = value
		}
	}
	all["config"] = config
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestDeleteDirectly(t *testing.T) {
	r, cgroups := exited(t, nil)
	if err := os.Remove(cgroups[1]); err != nil { // as after an interrupted deletion
		t.Fatal(err)
	}
	if !r.DeleteDirectly("web") {
		t.Error("left to the command")
	}
	if exists(cgroups[0]) || r.knows("web") {
		t.Errorf("cgroup left: %v, state left: %v", exists(cgroups[0]), r.knows("web"))
	}
}

// TestDeleteDirectlyLeavesTheRestToTheCommand checks that nothing is removed from a container for
// which `runc delete` does more than to remove its cgroups and its state.
func TestDeleteDirectlyLeavesTheRestToTheCommand(t *testing.T) {
	set := func(key string, value any) func(map[string]any) {
		return func(state map[string]any) { state[key] = value }
	}
	for name, change := range map[string]func(map[string]any){
		"hooks":                set("config.Hooks", map[string]any{"poststop": []any{map[string]string{"path": "/bin/true"}}}),
		"systemd":              set("config.cgroups", map[string]any{"Systemd": true}),
		"resctrl":              set("config.intel_rdt", map[string]any{"closID": "gold"}),
		"no PID namespace":     set("config.namespaces", []map[string]string{{"type": "NEWNS"}}),
		"shared PID namespace": set("config.namespaces", []map[string]string{{"type": "NEWPID", "path": "/proc/1/ns/pid"}}),
		"rootless":             set("rootless", true),
		"rootless cgroups":     set("config.rootless_cgroups", true),
		"no cgroups":           set("cgroup_paths", nil),
		"another format":       set("cgroup_paths", []string{"/web"}),
	} {
		r, cgroups := exited(t, change)
		if r.DeleteDirectly("web") {
			t.Errorf("%s: deleted", name)
		}
		if !exists(cgroups[0]) || !exists(cgroups[1]) || !r.knows("web") {
			t.Errorf("%s: removed a part", name)
		}
	}
	r, _ := exited(t, nil)
	r.cli.Command = "/usr/bin/crun"
	if r.DeleteDirectly("web") || !r.knows("web") {
		t.Error("crun: deleted")
	}
	r, _ = exited(t, nil)
	if r.DeleteDirectly("other") {
		t.Error("unknown container: deleted")
	}
}

// TestDeleteDirectlyKeepsTheStateOfACgroupInUse checks that runc still knows a container of which a
// cgroup is left: its delete command kills the processes in it.
func TestDeleteDirectlyKeepsTheStateOfACgroupInUse(t *testing.T) {
	r, cgroups := exited(t, nil)
	if err := os.Mkdir(filepath.Join(cgroups[0], "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r.DeleteDirectly("web") {
		t.Error("deleted although a cgroup is in use")
	}
	if !exists(filepath.Join(r.cli.Root, "web", stateFile)) {
		t.Error("state removed although a cgroup is in use")
	}
}

// TestDeleteDirectlyLikeRunc checks that DeleteDirectly leaves of a container of runc what `runc
// delete` leaves.
func TestDeleteDirectlyLikeRunc(t *testing.T) {
	left := map[string][]string{}
	for name, remove := range map[string]func(r *Runtime, id string) error{
		"command": func(r *Runtime, id string) error { return r.Delete(t.Context(), id, false) },
		"direct": func(r *Runtime, id string) error {
			if !r.DeleteDirectly(id) {
				return fmt.Errorf("left to the command")
			}
			return nil
		},
	} {
		r, parent := killedContainer(t)
		if len(remains(t, r, parent)) < 2 {
			t.Fatalf("the container has %v, want its state and a cgroup", remains(t, r, parent))
		}
		if err := remove(r, "web"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		left[name] = remains(t, r, parent)
		if err := r.Delete(t.Context(), "web", true); err != nil {
			t.Errorf("%s: delete again: %v", name, err)
		}
	}
	if diff := cmp.Diff(left["command"], left["direct"]); diff != "" || len(left["direct"]) > 0 {
		t.Errorf("left (-runc delete +DeleteDirectly):\n%s%v", diff, left)
	}
}

// remains returns the cgroups below the directory parent of each hierarchy, and the files of the
// runtime.
func remains(t *testing.T, r *Runtime, parent string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{
		filepath.Join("/sys/fs/cgroup", parent, "web"),
		filepath.Join("/sys/fs/cgroup/*", parent, "web"),
		filepath.Join(r.cli.Root, "*"),
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	for i, path := range found { // each container has a root and a parent of its own
		found[i] = filepath.Base(filepath.Dir(filepath.Dir(path))) + "/" + filepath.Base(path)
	}
	return found
}

// killedContainer creates a container with the real runc and kills its init. The container's cgroup
// is called web, in the cgroup parent.
func killedContainer(t *testing.T) (r *Runtime, parent string) {
	t.Helper()
	program := findRunc(t)
	dir := t.TempDir()
	parent = fmt.Sprintf("lite-delete-test-%d/%s", os.Getpid(), filepath.Base(dir))
	writeBundle(t, dir, "/"+parent+"/web")
	r = New(&options.Options{BinaryName: program, Root: t.TempDir()}, "ns", "", noHold)
	t.Cleanup(func() { removeParents(parent) })
	pidFile := filepath.Join(dir, "pid")
	null, err := runc.NewNullIO()
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := r.Create(t.Context(), "web", dir, &Process{PidFile: pidFile, IO: null}); err != nil {
		t.Skipf("runc cannot create a container here: %v", err)
	}
	pid, err := bundle.ReadPid(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1); err != nil {
		t.Fatal(err)
	}
	return r, parent
}

func findRunc(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"runc", "../../.tools/bin/runc"} {
		if path, err := exec.LookPath(name); err == nil {
			path, err = filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	t.Skip("needs runc on the PATH or in .tools/bin")
	return ""
}

// writeBundle writes the bundle of a container whose program is never executed: runc only looks
// whether it is there.
func writeBundle(t *testing.T, dir, cgroup string) {
	t.Helper()
	spec := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{Args: []string{"/program"}, Cwd: "/"},
		Root:    &specs.Root{Path: "rootfs"},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			CgroupsPath: cgroup,
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}},
		},
	}
	data, err := json.Marshal(spec)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "rootfs", "proc"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rootfs", "program"), []byte("#!/bin/sh\n"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func removeParents(parent string) {
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		paths, _ := filepath.Glob(filepath.Join(pattern, parent))
		for _, path := range paths {
			_ = unix.Rmdir(filepath.Join(path, "web"))
			_ = unix.Rmdir(path)
			_ = unix.Rmdir(filepath.Dir(path))
		}
	}
}
