// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"go.etcd.io/bbolt"
)

// note is a record.
type note struct {
	Text string `json:"text"`
}

// newClient returns a Client on containerd's real metadata, without a daemon.
func newClient(t *testing.T) (*Client, context.Context) {
	t.Helper()
	c, _, ctx := newMetadata(t)
	return c, ctx
}

// newMetadata is newClient that also returns the metadata, with more services. Garbage is only
// collected by the test.
func newMetadata(t *testing.T, services ...containerd.ServicesOpt) (*Client, *metadata.DB, context.Context) {
	t.Helper()
	dir := t.TempDir()
	bolt, err := bbolt.Open(filepath.Join(dir, "meta.db"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bolt.Close() })
	content, err := local.NewStore(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	snapshotter, err := native.NewSnapshotter(filepath.Join(dir, "native"))
	if err != nil {
		t.Fatal(err)
	}
	db := metadata.NewDB(bolt, content, map[string]snapshots.Snapshotter{"native": snapshotter})
	if err := db.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	services = append(services,
		containerd.WithContainerStore(metadata.NewContainerStore(db)),
		containerd.WithSandboxStore(metadata.NewSandboxStore(db)),
		containerd.WithLeasesService(metadata.NewLeaseManager(db)),
		containerd.WithSnapshotters(db.Snapshotters()),
	)
	c, err := containerd.New("", containerd.WithServices(services...), containerd.WithDefaultRuntime("io.containerd.runc.v2"))
	if err != nil {
		t.Fatal(err)
	}
	return New(c, db), db, namespaces.WithNamespace(t.Context(), "k8s.io")
}

func decoded(t *testing.T, records []Record) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, r := range records {
		var n note
		if err := json.Unmarshal(r.JSON, &n); err != nil {
			t.Fatal(err)
		}
		texts[r.ID] = n.Text
	}
	return texts
}

func TestSandboxRecords(t *testing.T) {
	c, ctx := newClient(t)
	if err := c.CreateSandbox(ctx, Sandbox{ID: "p1", Runtime: "io.containerd.lite.v2", Record: note{"made"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSandbox(ctx, Sandbox{ID: "p1", Record: note{"ready"}}); err != nil {
		t.Fatal(err)
	}
	records, err := c.Sandboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"p1": "ready"}, decoded(t, records)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := c.DeleteSandbox(ctx, "p1"); err != nil {
			t.Error(err)
		}
	}
	if err := c.SaveSandbox(ctx, Sandbox{ID: "p1", Record: note{"late"}}); !errdefs.IsNotFound(err) {
		t.Errorf("SaveSandbox after DeleteSandbox: %v, want NotFound", err)
	}
}

// TestMetadataForTheBuiltInCRI checks that the metadata of a pod reaches the container of its task
// with the record, and that a pod of ours is not taken for one of the built-in CRI.
func TestMetadataForTheBuiltInCRI(t *testing.T) {
	c, db, ctx := newMetadata(t)
	builtIn := BuiltInCRI{Containers: metadata.NewContainerStore(db), Sandboxes: metadata.NewSandboxStore(db)}
	if err := c.CreateSandbox(ctx, Sandbox{ID: "p1", Runtime: "r", Record: note{"made"}, BuiltIn: []byte("early")}); err != nil {
		t.Fatal(err)
	}
	err := c.CreateContainer(ctx, Container{ID: "p1", Kind: KindPod, Runtime: "r", Spec: &specs.Spec{}, BuiltIn: []byte("early")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSandbox(ctx, Sandbox{ID: "p1", Record: note{"ready"}, BuiltIn: []byte("late"), Resources: []byte("resized")}); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSandbox(ctx, Sandbox{ID: "p1", Record: note{"stopped"}}); err != nil {
		t.Fatal(err)
	}
	info, err := builtIn.Containers.Get(ctx, "p1")
	if err != nil {
		t.Fatal(err)
	}
	if has := info.Extensions["io.cri-containerd.sandbox.metadata"]; string(has.GetValue()) != "late" ||
		has.GetTypeUrl() != "github.com/containerd/cri/pkg/store/sandbox/Metadata" {
		t.Errorf("metadata of the container: %v", has)
	}
	stored, err := builtIn.Sandboxes.Get(ctx, "p1")
	if err != nil {
		t.Fatal(err)
	}
	if string(stored.Extensions["metadata"].GetValue()) != "late" || string(stored.Extensions["updated-resources"].GetValue()) != "resized" || stored.Sandboxer != "podsandbox" {
		t.Errorf("sandbox: %+v", stored)
	}
	records, err := c.Sandboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || !records[0].BuiltIn || string(records[0].Resources) != "resized" || decoded(t, records)["p1"] != "stopped" {
		t.Errorf("records: %+v", records)
	}
	if found, err := builtIn.List(ctx, KindPod); err != nil || len(found) > 0 {
		t.Errorf("pods of the built-in CRI: %v, %v", found, err)
	}
	if err := c.DeleteContainer(ctx, "p1"); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSandbox(ctx, Sandbox{ID: "p1", Record: note{"stopped"}, BuiltIn: []byte("last")}); err != nil {
		t.Errorf("SaveSandbox without a container: %v", err)
	}
}

// TestSandboxOfAnEarlierRelease checks that a sandbox gets the controller that containerd has.
func TestSandboxOfAnEarlierRelease(t *testing.T) {
	c, db, ctx := newMetadata(t)
	sandboxes := metadata.NewSandboxStore(db)
	extensions, err := encode(note{"old"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sandboxes.Create(ctx, sandbox.Sandbox{
		ID: "p1", Sandboxer: "lite", Labels: map[string]string{"a": "b"}, Runtime: sandbox.RuntimeOpts{Name: "r"}, Extensions: extensions,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSandbox(ctx, Sandbox{ID: "p1", Record: note{"new"}, BuiltIn: []byte("m")}); err != nil {
		t.Fatal(err)
	}
	s, err := sandboxes.Get(ctx, "p1")
	if err != nil {
		t.Fatal(err)
	}
	if s.Sandboxer != PodSandboxer || s.Labels["a"] != "b" || s.Runtime.Name != "r" || string(s.Extensions["metadata"].GetValue()) != "m" {
		t.Errorf("sandbox: %+v", s)
	}
	if records, err := c.Sandboxes(ctx); err != nil || decoded(t, records)["p1"] != "new" {
		t.Errorf("records %v, %v", records, err)
	}
}

func TestContainerRecordsAndSpecs(t *testing.T) {
	c, ctx := newClient(t)
	spec := &specs.Spec{Version: "1.3.0", Process: &specs.Process{Args: []string{"top"}}}
	err := c.CreateContainer(ctx, Container{
		ID: "c1", Kind: KindContainer, Runtime: "io.containerd.lite.v2", Spec: spec, Record: note{"made"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CreateContainer(ctx, Container{ID: "init", Kind: KindPod, Runtime: "io.containerd.lite.v2", Spec: spec}); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveContainer(ctx, Container{ID: "c1", Record: note{"running"}}); err != nil {
		t.Fatal(err)
	}
	spec.Process.Args = []string{"sleep"}
	if err := c.SaveSpec(ctx, "c1", spec); err != nil {
		t.Fatal(err)
	}
	got, _, err := c.Spec(ctx, "c1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec, got); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	records, err := c.Containers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"c1": "running"}, decoded(t, records)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := c.DeleteContainer(ctx, "c1"); err != nil {
			t.Error(err)
		}
	}
}

func TestDeleteContainerRemovesSnapshot(t *testing.T) {
	c, ctx := newClient(t)
	if _, err := c.PrepareSnapshot(ctx, Snapshot{Key: "c1", Snapshotter: "native"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PrepareSnapshot(ctx, Snapshot{Key: "c1", Snapshotter: "native"}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second snapshot with the same key: %v, want AlreadyExists", err)
	}
	err := c.CreateContainer(ctx, Container{ID: "c1", Runtime: "r", Snapshotter: "native", Spec: &specs.Spec{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteContainer(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PrepareSnapshot(ctx, Snapshot{Key: "c1", Snapshotter: "native"}); err != nil {
		t.Errorf("key of a removed container: %v", err)
	}
	for range 2 {
		if err := c.RemoveSnapshot(ctx, "native", "c1"); err != nil {
			t.Error(err)
		}
	}
}
