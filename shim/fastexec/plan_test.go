// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/shim/enter"
)

var update = flag.Bool("update", false, "update the list of fields")

// TestEveryFieldIsDecided compares the fields of the specification with a list. A field that a new
// version adds may need something that the program of package enter does not do, even below a field
// that is allowed as a whole.
func TestEveryFieldIsDecided(t *testing.T) {
	var got strings.Builder
	fields(reflect.TypeFor[specs.Spec](), "", func(path string) {
		if path == "" {
			return
		}
		decision := "runtime"
		if slices.ContainsFunc(allowed, func(a string) bool { return a == path || strings.HasPrefix(path, a+".") }) {
			decision = "allowed"
		}
		got.WriteString(decision + " " + path + "\n")
	})
	golden := filepath.Join("testdata", "fields.txt")
	if *update {
		must(t, os.WriteFile(golden, []byte(got.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for _, path := range allowed {
		if !strings.Contains(got.String(), " "+path+"\n") {
			t.Errorf("%s: no such field", path)
		}
	}
}

// fields passes the paths of all fields of a type.
func fields(t reflect.Type, path string, each func(string)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		each(path)
		return
	}
	each(path)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if path != "" {
			name = path + "." + name
		}
		fields(t.Field(i).Type, name, each)
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return data
}

func plain(change func(*specs.Spec)) *specs.Spec {
	s := (&node{}).spec("plain")
	change(s)
	return s
}

// unfit are containers and processes that only the runtime can start processes in.
var unfit = map[string]func(*specs.Spec){
	"seccomp": func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{} },
	"user namespace": func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
	},
	"time namespace": func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "time"})
	},
	"new namespace": func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "new"})
	},
	"no mounts":       func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:1] },
	"mappings":        func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} },
	"SELinux":         func(s *specs.Spec) { s.Process.SelinuxLabel = "l" },
	"mount label":     func(s *specs.Spec) { s.Linux.MountLabel = "l" },
	"scheduler":       func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{} },
	"I/O priority":    func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{} },
	"affinity":        func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{} },
	"personality":     func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} },
	"memory policy":   func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} },
	"RDT":             func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
	"time offsets":    func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} },
	"virtual machine": func(s *specs.Spec) { s.VM = &specs.VM{} },
	"no process":      func(s *specs.Spec) { s.Process = nil },
	"no Linux":        func(s *specs.Spec) { s.Linux = nil },
}

func TestOnlyTheRuntimeCan(t *testing.T) {
	if _, err := New("web", encode(t, plain(func(*specs.Spec) {})), true); err != nil {
		t.Fatal(err)
	}
	for name, change := range unfit {
		if _, err := New("web", encode(t, plain(change)), true); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, config := range map[string]string{
		"nothing": "", "no object": "[]", "two": `{"process":{},"linux":{}} {}`,
		"unknown field": `{"ociVersion":"9","new":1}`, "unknown field of the process": `{"process":{"new":true}}`,
	} {
		if _, err := New("web", []byte(config), true); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOnlyTheRuntimeCanStart(t *testing.T) {
	c, err := New("web", encode(t, plain(func(*specs.Spec) {})), true)
	must(t, err)
	for name, change := range map[string]func(*specs.Process){
		"terminal":                      func(p *specs.Process) { p.Terminal = true },
		"SELinux":                       func(p *specs.Process) { p.SelinuxLabel = "l" },
		"scheduler":                     func(p *specs.Process) { p.Scheduler = &specs.Scheduler{} },
		"affinity":                      func(p *specs.Process) { p.ExecCPUAffinity = &specs.CPUAffinity{} },
		"no arguments":                  func(p *specs.Process) { p.Args = nil },
		"relative directory":            func(p *specs.Process) { p.Cwd = "work" },
		"no directory":                  func(p *specs.Process) { p.Cwd = "" },
		"capabilities of the container": func(p *specs.Process) { p.Capabilities = nil },
		"unknown capability":            func(p *specs.Process) { p.Capabilities = &specs.LinuxCapabilities{Ambient: []string{"CAP_NEW"}} },
		"unknown limit":                 func(p *specs.Process) { p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NEW"}} },
	} {
		p := *plain(func(*specs.Spec) {}).Process
		change(&p)
		if r, err := c.request(&p); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestAppArmorProfile checks that the profile of the process comes before that of the container.
func TestAppArmorProfile(t *testing.T) {
	c, err := New("web", encode(t, plain(func(s *specs.Spec) { s.Process.ApparmorProfile = "container" })), true)
	must(t, err)
	for profile, want := range map[string]string{"": "container", "process": "process"} {
		p := *plain(func(*specs.Spec) {}).Process
		p.ApparmorProfile = profile
		r, err := c.request(&p)
		must(t, err)
		if r.AppArmorProfile != want {
			t.Errorf("profile %q: %q, want %q", profile, r.AppArmorProfile, want)
		}
	}
}

func TestChooseCgroup(t *testing.T) {
	dir := t.TempDir()
	p, r := &program{cmd: &exec.Cmd{SysProcAttr: &syscall.SysProcAttr{}}}, &enter.Request{}
	defer p.closeFiles()
	must(t, p.chooseCgroup(r, map[string]string{"": dir}, true))
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.cmd.SysProcAttr.CgroupFD))
	if err != nil || link != dir || !p.cmd.SysProcAttr.UseCgroupFD || r.CgroupProcs != nil {
		t.Errorf("v2: started in %q, %v; joins %q", link, err, r.CgroupProcs)
	}
	must(t, p.chooseCgroup(r, map[string]string{"cpu": "/b/web", "cpuacct": "/b/web", "pids": "/a/web"}, false))
	if diff := cmp.Diff([]string{"/a/web/cgroup.procs", "/b/web/cgroup.procs"}, r.CgroupProcs); diff != "" {
		t.Errorf("v1 (-want +got):\n%s", diff)
	}
	for name, cgroups := range map[string]map[string]string{"unknown": nil, "gone": {"": filepath.Join(dir, "absent")}} {
		if p.chooseCgroup(r, cgroups, true) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzNew checks that an accepted config.json has no field outside of the list, by another way than
// New does.
func FuzzNew(f *testing.F) {
	f.Add(encode(f, plain(func(*specs.Spec) {})))
	for _, change := range unfit {
		f.Add(encode(f, plain(change)))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		c, err := New("web", config, true)
		if err != nil {
			return
		}
		if c.namespaces == 0 {
			t.Error("accepted without a namespace")
		}
		// Encoded again, the struct has the fields that the runtime reads and none that are empty.
		spec := &specs.Spec{}
		must(t, json.Unmarshal(config, spec))
		var tree map[string]any
		must(t, json.NewDecoder(bytes.NewReader(encode(t, spec))).Decode(&tree))
		for _, path := range leaves(tree, "") {
			if !slices.ContainsFunc(allowed, func(a string) bool { return path == a || strings.HasPrefix(path, a+".") }) {
				t.Errorf("%s is accepted", path)
			}
		}
		if spec.Process == nil {
			t.Fatal("accepted without a process")
		}
		if r, err := c.request(spec.Process); err == nil && (len(r.Args) == 0 || spec.Process.Terminal) {
			t.Errorf("accepted %+v", spec.Process)
		}
	})
}

func leaves(tree map[string]any, prefix string) (paths []string) {
	for name, value := range tree {
		if below, ok := value.(map[string]any); ok && len(below) > 0 {
			paths = append(paths, leaves(below, prefix+name+".")...)
		} else if !ok {
			paths = append(paths, prefix+name)
		}
	}
	return paths
}
