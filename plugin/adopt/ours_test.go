// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

func podOfOurs() *pod.Record {
	return &pod.Record{
		ID: "ours", Name: "db_ns_uid_0", Handler: "lite", State: pod.Ready,
		Config:     &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "db"}},
		Namespaces: network.Namespaces{Net: "/run/netns/cni-2"},
		Network:    network.Result{IP: "10.0.0.3", AdditionalIPs: []string{"fd00::3"}},
	}
}

func containerOfOurs() *container.Record {
	return &container.Record{
		ID: "c2", Name: "main_db_ns_uid_0", PodID: "ours", LogDir: "/logs", StopSignal: "SIGUSR1", PID: 5,
		Config: &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, LogPath: "0.log", Mounts: []*runtimeapi.Mount{
			{ContainerPath: "/i", Image: &runtimeapi.ImageSpec{Image: "volume"}},
		}},
		Image:   container.Image{ID: "sha256:1", Ref: "docker.io/library/busybox:latest", Digest: "sha256:2"},
		Runtime: container.Runtime{Handler: "lite", ShimWritesLog: true},
		Times:   container.Times{Created: 1, Started: 2},
		Applied: container.Applied{VolumeImages: map[int]string{0: "sha256:3"}},
	}
}

// TestMetadataOfOurs checks what the built-in CRI finds of a pod and a container of ours.
func TestMetadataOfOurs(t *testing.T) {
	data, err := EncodePod(podOfOurs())
	if err != nil {
		t.Fatal(err)
	}
	var p podMetadata
	if err := decodeMetadata(data, &p); err != nil {
		t.Fatal(err)
	}
	r := podOfOurs()
	wantPod := podMetadata{
		ID: "ours", Name: "db_ns_uid_0", Config: r.Config, NetNSPath: "/run/netns/cni-2", IP: "10.0.0.3", AdditionalIPs: []string{"fd00::3"},
	}
	if diff := cmp.Diff(wantPod, p, protocmp.Transform()); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if data, err = encodeContainer(containerOfOurs()); err != nil {
		t.Fatal(err)
	}
	var c containerMetadata
	if err := decodeMetadata(data, &c); err != nil {
		t.Fatal(err)
	}
	config := containerOfOurs().Config
	config.Mounts[0].Image.ImageRef = "sha256:3"
	wantContainer := containerMetadata{
		ID: "c2", Name: "main_db_ns_uid_0", SandboxID: "ours", Config: config, ImageRef: "sha256:1", ImageDigest: "sha256:2",
		ImageName: "docker.io/library/busybox:latest", LogPath: "/logs/0.log", StopSignal: "SIGUSR1",
	}
	if diff := cmp.Diff(wantContainer, c, protocmp.Transform()); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
}

// TestSavedForBoth checks that a record and what the built-in CRI needs are saved together.
func TestSavedForBoth(t *testing.T) {
	s, n := newStore(t)
	_ = n.Makes("", "record")
	r := podOfOurs()
	if err := s.CreateSandbox(t.Context(), runtime.Sandbox{ID: r.ID, Record: r}); err != nil {
		t.Fatal(err)
	}
	if n.sandbox.BuiltIn == nil || n.sandbox.Resources != nil {
		t.Errorf("created with %s, %s", n.sandbox.BuiltIn, n.sandbox.Resources)
	}
	r.Config.Linux = &runtimeapi.LinuxPodSandboxConfig{Resources: &runtimeapi.LinuxContainerResources{CpuShares: 5}}
	if err := s.SaveSandbox(t.Context(), runtime.Sandbox{ID: r.ID, Record: r}); err != nil {
		t.Fatal(err)
	}
	if n.sandbox.BuiltIn == nil || string(n.sandbox.Resources) != `{"Overhead":null,"Resources":{"cpu_shares":5},"Lite":true}` {
		t.Errorf("saved with %s, %s", n.sandbox.BuiltIn, n.sandbox.Resources)
	}
	n.changed(t)

	c := containerOfOurs() // its directory is missing
	if err := s.CreateContainer(t.Context(), runtime.Container{ID: c.ID, Kind: runtime.KindContainer, Record: c}); err != nil {
		t.Fatal(err)
	}
	if n.container.BuiltIn == nil {
		t.Error("container created without metadata")
	}
	c.Times.Finished, c.Exit.Code = 3, 7
	if err := s.SaveContainer(t.Context(), runtime.Container{ID: c.ID, Record: c}); err != nil {
		t.Fatal(err)
	}
	status, err := readStatus(s.Paths.Container(c.ID).Status())
	if err != nil || !status.Lite || status.ExitCode != 7 || status.FinishedAt != 3 {
		t.Errorf("status: %+v, %v", status, err)
	}
	if n.ContainerRecords[c.ID] == nil {
		t.Error("record not saved")
	}
}

// resumed returns a container of ours after the built-in CRI has written this status.
func resumed(t *testing.T, r *container.Record, status string) *container.Record {
	t.Helper()
	s, n := newStore(t)
	n.stock = nil
	save(t, n.ContainerRecords, r.ID, r)
	n.handedBack = true
	if status != "" {
		writeFile(t, s.Paths.Container(r.ID).Status(), status)
	}
	writeFile(t, filepath.Join(s.Paths.Container(r.ID).IO(), "123", r.ID+"-stdout"), "")
	records, err := s.Containers(t.Context())
	if err != nil || len(records) != 1 {
		t.Fatalf("%v, %v", records, err)
	}
	got := new(container.Record)
	if err := json.Unmarshal(records[0].JSON, got); err != nil {
		t.Fatal(err)
	}
	if got.Runtime.Pipes != "" {
		got.Runtime.Pipes = filepath.Base(got.Runtime.Pipes)
	}
	return got
}

func save(t *testing.T, records map[string][]byte, id string, record any) {
	t.Helper()
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	records[id] = data
}

// TestContainerChangedByTheBuiltInCRI checks that only a status that the built-in CRI wrote
// replaces the record.
func TestContainerChangedByTheBuiltInCRI(t *testing.T) {
	created := containerOfOurs()
	created.Times.Started, created.PID = 0, 0
	ended := containerOfOurs()
	ended.PID, ended.Times.Finished, ended.Exit.Reason = 0, 9, container.ReasonCompleted
	limited := containerOfOurs()
	limited.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 7}
	for _, test := range []struct {
		name, status string
		was          *container.Record
		change       func(*container.Record)
	}{
		{"ours", `{"Version":"v1","CreatedAt":1,"StartedAt":2,"FinishedAt":9,"Lite":true}`, containerOfOurs(), func(*container.Record) {}},
		{"broken", `{"Version":`, containerOfOurs(), func(*container.Record) {}},
		{"other version", `{"Version":"v2"}`, containerOfOurs(), func(*container.Record) {}},
		{
			"ended", `{"Version":"v1","CreatedAt":1,"StartedAt":2,"FinishedAt":9,"ExitCode":7}`, containerOfOurs(), func(r *container.Record) {
				r.PID, r.Times.Finished, r.Exit = 0, 9, container.Exit{Code: 7, Reason: container.ReasonError}
			},
		},
		{"older", `{"Version":"v1","Pid":5,"CreatedAt":1,"StartedAt":2}`, ended, func(*container.Record) {}},
		{"older than the start", `{"Version":"v1","CreatedAt":1}`, containerOfOurs(), func(*container.Record) {}},
		{"zeros", `{"Version":"v1","ExitCode":255}`, containerOfOurs(), func(*container.Record) {}},
		{"without resources", `{"Version":"v1","Pid":5,"CreatedAt":1,"StartedAt":2}`, limited, func(*container.Record) {}},
		{
			"resized", `{"Version":"v1","Pid":5,"CreatedAt":1,"StartedAt":2,"Resources":{"linux":{"cpu_shares":3}}}`, containerOfOurs(), func(r *container.Record) {
				r.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 3}
			},
		},
		{"started", `{"Version":"v1","Pid":6,"CreatedAt":1,"StartedAt":2}`, created, func(r *container.Record) {
			r.PID, r.Times.Started, r.Runtime.ShimWritesLog, r.Runtime.Pipes = 6, 2, false, "123"
		}},
	} {
		want := *test.was
		test.change(&want)
		got := resumed(t, test.was, test.status)
		if diff := cmp.Diff(&want, got, protocmp.Transform(), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".life" }, cmp.Ignore())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestPodChangedByTheBuiltInCRI checks that a pod that the built-in CRI has stopped is not ready,
// and that its updated resources are known.
func TestPodChangedByTheBuiltInCRI(t *testing.T) {
	s, n := newStore(t)
	n.stock = nil
	onHost := podOfOurs()
	onHost.ID, onHost.Config.Linux = "host", &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{Ipc: runtimeapi.NamespaceMode_NODE},
	}}
	n.handedBack, n.resources = true, []byte(`{"Resources":{"cpu_shares":6}}`)
	for _, r := range []*pod.Record{podOfOurs(), onHost} {
		save(t, n.SandboxRecords, r.ID, r)
	}
	creating, gone := podOfOurs(), podOfOurs()
	creating.ID, creating.State, gone.ID, n.removed = "creating", pod.Creating, "gone", "gone"
	save(t, n.SandboxRecords, "creating", creating)
	save(t, n.SandboxRecords, "gone", gone)
	n.stock = map[runtime.Kind][]runtime.BuiltIn{runtime.KindContainer: {
		{ID: "c1", Metadata: []byte(`{"Version":"v1","Metadata":{"SandboxID":"creating"}}`)},
	}}
	records, err := s.Sandboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Neither has a /dev/shm. The last was removed by a containerd without sandboxes.
	want := map[string]pod.State{"ours": pod.Stopping, "host": pod.Ready, "creating": pod.Stopping}
	for _, saved := range records {
		r := new(pod.Record)
		if err := json.Unmarshal(saved.JSON, r); err != nil {
			t.Fatal(err)
		}
		if r.State != want[r.ID] || r.Config.Linux.Resources.GetCpuShares() != 6 {
			t.Errorf("pod %s: %s, %v", r.ID, r.State, r.Config.Linux)
		}
		delete(want, r.ID)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	if n.SandboxRecords["gone"] != nil {
		t.Error("the record of a removed pod stays")
	}
}

// TestStateDoesNotPreventTheRecord checks that a record is saved when the status file cannot be
// written.
func TestStateDoesNotPreventTheRecord(t *testing.T) {
	s, n := newStore(t)
	c := containerOfOurs()
	writeFile(t, s.Paths.Container(c.ID).Root, "a file in place of the directory")
	if err := s.SaveContainer(t.Context(), runtime.Container{ID: c.ID, Record: c}); err != nil || n.ContainerRecords[c.ID] == nil {
		t.Errorf("%v, record %s", err, n.ContainerRecords[c.ID])
	}
}

// TestRecordsOfReleasesBefore checks that a record that was saved without metadata for the built-in
// CRI gets it.
func TestRecordsOfReleasesBefore(t *testing.T) {
	s, n := newStore(t)
	n.stock = nil
	_ = n.Makes("", "record")
	p, c := podOfOurs(), containerOfOurs()
	save(t, n.SandboxRecords, p.ID, p)
	save(t, n.ContainerRecords, c.ID, c)
	if err := os.MkdirAll(s.Paths.Container(c.ID).Root, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sandboxes(t.Context()); err != nil || n.sandbox.BuiltIn == nil {
		t.Errorf("pod saved as %+v, %v", n.sandbox, err)
	}
	if _, err := s.Containers(t.Context()); err != nil || n.container.BuiltIn == nil {
		t.Errorf("container saved as %+v, %v", n.container, err)
	}
	if status, err := readStatus(s.Paths.Container(c.ID).Status()); err != nil || !status.Lite || status.StartedAt != 2 {
		t.Errorf("status: %+v, %v", status, err)
	}
}

// TestHandBack checks what is said of pods before a change to containerd.
func TestHandBack(t *testing.T) {
	s, n := newStore(t)
	n.handedBack = true
	stopped := podOfOurs()
	stopped.ID, stopped.State, stopped.Config.Metadata.Name = "stopped", pod.Stopped, "old"
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}}
	stopped.Config.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{UsernsOptions: &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: ids, Gids: ids}},
	}}
	save(t, n.SandboxRecords, "ours", podOfOurs())
	save(t, n.SandboxRecords, "stopped", stopped)
	save(t, n.ContainerRecords, "c2", containerOfOurs())
	n.SandboxRecords["broken"] = []byte("{")
	got, err := s.HandBack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []HandedBack{
		{Pod: "/db", Ready: true, Containers: 1, Limits: []Limit{noVolumes}},
		{Pod: "/old", Limits: []Limit{notListed, noUserns}},
		{Pod: "broken", Unreadable: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
