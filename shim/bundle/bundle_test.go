// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/testing/protocmp"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	d := Dir(t.TempDir())
	if _, err := d.Options(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("options without a record: %v, want not exist", err)
	}
	want := &options.Options{BinaryName: "crun", SystemdCgroup: true}
	if err := d.WriteOptions(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.Options()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	// containerd-shim-runc-v2 reads both files, too.
	if data, err := os.ReadFile(d.path("options.json")); err != nil || string(data) != `{"binary_name":"crun","systemd_cgroup":true}` {
		t.Errorf("options.json = %s, %v", data, err)
	}
	if data, err := os.ReadFile(d.path("runtime")); err != nil || string(data) != "crun" {
		t.Errorf("runtime = %s, %v", data, err)
	}
}

func TestExit(t *testing.T) {
	d := Dir(t.TempDir())
	if _, err := d.Exit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exit without a record: %v, want not exist", err)
	}
	want := Exit{Timestamp: time.Unix(1700000000, 5).UTC(), Pid: 42, Status: 7}
	if err := d.WriteExit(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.Exit()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	for _, broken := range []string{"", "{", `{}`, `{"Timestamp":"2024-01-01T00:00:00Z","Pid":0,"Status":1}`} {
		write(t, d.path("exit.json"), broken)
		if got, err := d.Exit(); err == nil {
			t.Errorf("exit.json %q: %+v, want an error", broken, got)
		}
	}
}

func TestReadPid(t *testing.T) {
	path := Dir(t.TempDir()).InitPidFile()
	for content, want := range map[string]int{"42": 42, "42\n": 42, "": 0, "0": 0, "-1": 0, "x": 0} {
		write(t, path, content)
		if got, err := ReadPid(path); got != want || (err == nil) != (want > 0) {
			t.Errorf("pid file %q: %d, %v, want %d", content, got, err, want)
		}
	}
}

func TestExecPidFileDiffersFromInit(t *testing.T) {
	d := Dir("/bundle")
	if d.ExecPidFile("init") == d.InitPidFile() {
		t.Errorf("an exec with the id init shares %s", d.InitPidFile())
	}
}

func TestSpec(t *testing.T) {
	tests := []struct {
		name, config string
		group        string
		privatePids  bool
		poststart    bool
	}{
		{"empty", `{}`, "web", false, false},
		{"own group", `{"annotations":{"io.containerd.runc.v2.group":"g","io.kubernetes.cri.sandbox-id":"pod"}}`, "g", false, false},
		{"pod", `{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}`, "pod", false, false},
		{"private", `{"linux":{"namespaces":[{"type":"network"},{"type":"pid"}]}}`, "web", true, false},
		{"joined", `{"linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}}`, "web", false, false},
		{"hooks", `{"hooks":{"poststart":[{"path":"/bin/true"}]}}`, "web", false, true},
		{"other hooks", `{"hooks":{"startContainer":[{"path":"/bin/true"}],"poststart":[]}}`, "web", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Dir(t.TempDir())
			write(t, d.path("config.json"), tt.config)
			spec, err := d.Spec()
			if err != nil {
				t.Fatal(err)
			}
			if got := spec.Group("web"); got != tt.group {
				t.Errorf("group = %q, want %q", got, tt.group)
			}
			if got := spec.PrivatePids(); got != tt.privatePids {
				t.Errorf("private pids = %v, want %v", got, tt.privatePids)
			}
			if got := spec.Poststart(); got != tt.poststart {
				t.Errorf("poststart hooks = %v, want %v", got, tt.poststart)
			}
		})
	}
}

// The process is found wherever it is in the file, and what follows it is not read.
func TestReadProcess(t *testing.T) {
	for config, want := range map[string]*specs.Process{
		`{"process":{"args":["top"],"env":["A=1"],"cwd":"/"},"linux":"not read"`:            {Args: []string{"top"}, Env: []string{"A=1"}, Cwd: "/"},
		`{"ociVersion":"1.3.0","mounts":[{"process":{"cwd":"/no"}}],"process":{"cwd":"/"}}`: {Cwd: "/"},
		`{"ociVersion":"1.3.0"}`:   nil,
		`{"process":{"args":"x"}}`: nil,
		`{"linux":`:                nil,
		``:                         nil,
		`[]`:                       nil,
	} {
		d := Dir(t.TempDir())
		write(t, d.path("config.json"), config)
		got, err := ReadProcess(d)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, process (-want +got):\n%s", config, err, diff)
		}
	}
	if _, err := ReadProcess(Dir(t.TempDir())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("process without config.json: %v, want not exist", err)
	}
}

func TestHolder(t *testing.T) {
	for config, want := range map[string]bool{
		`{"annotations":{"io.kubernetes.cri.container-type":"sandbox"},"process":{"cwd":"/"}}`:            true,
		`{"annotations":{"io.kubernetes.cri.container-type":"sandbox"},"process":{"args":["/pod-init"]}}`: false,
		`{"annotations":{"io.kubernetes.cri.container-type":"container"},"process":{"cwd":"/"}}`:          false,
		`{"process":{"cwd":"/"}}`: false, // args missing by mistake
	} {
		d := Dir(t.TempDir())
		write(t, d.path("config.json"), config)
		spec, err := d.Spec()
		if err != nil {
			t.Fatal(err)
		}
		if got := spec.Holder(); got != want {
			t.Errorf("%s: holder = %v, want %v", config, got, want)
		}
	}
}

func TestRecordedFiles(t *testing.T) {
	d := Dir(t.TempDir())
	if d.Deleted() {
		t.Error("deleted before MarkDeleted")
	}
	if err := d.MarkDeleted([]byte("answer")); err != nil || !d.Deleted() {
		t.Errorf("deleted = %v, %v", d.Deleted(), err)
	}
	var got map[string]string
	if found, err := d.ReadCgroup(&got); found || err != nil {
		t.Errorf("cgroup without a record: %v, %v", found, err)
	}
	if err := d.WriteCgroup(map[string]string{"": "/pod/web"}); err != nil {
		t.Fatal(err)
	}
	if found, err := d.ReadCgroup(&got); !found || err != nil || got[""] != "/pod/web" {
		t.Errorf("cgroup = %v, %v, %v", got, found, err)
	}
	for range 2 {
		if err := d.WriteSocket("/run/s/x"); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := d.Socket(); path != "/run/s/x" || err != nil {
		t.Errorf("socket = %q, %v", path, err)
	}
}
