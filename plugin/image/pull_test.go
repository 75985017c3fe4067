// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPullRecordsWhatContainerdsOwnCRIRecords(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{Pinned: []string{reg.ref("app:pinned")}})
	img := newImage(t, 2, nil)
	repo, id, dgst := reg.ref("app"), idOf(t, img), digestOf(t, img)
	reg.push(t, repo+":v1", img)
	reg.push(t, repo+":pinned", img)

	got, err := m.Pull(t.Context(), spec(repo+":v1"), nil, nil)
	must(t, err)
	if got != id {
		t.Errorf("image_ref is %s, want the config's digest %s", got, id)
	}
	want := []string{repo + ":v1", repo + "@" + dgst, id}
	slices.Sort(want)
	if d := cmp.Diff(want, n.names(t)); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	for _, name := range want {
		record, err := n.images.Get(n.ctx, name)
		must(t, err)
		if d := cmp.Diff(map[string]string{labelManaged: "managed"}, record.Labels); d != "" {
			t.Errorf("labels of %s (-want +got):\n%s", name, d)
		}
	}

	resp, err := m.Status(t.Context(), spec(repo+":v1"), false)
	must(t, err)
	resolved, err := m.Resolve(t.Context(), id)
	must(t, err)
	unpacked, err := resolved.Handle.IsUnpacked(n.ctx, defaultSnapshotter)
	must(t, err)
	size, err := resolved.Handle.Size(n.ctx)
	must(t, err)
	if !unpacked || resp.Image.Pinned || resp.Image.Id != id || resp.Image.Size != uint64(size) || size == 0 {
		t.Errorf("unpacked %v, size %d, image %v", unpacked, size, resp.Image)
	}

	_, err = m.Pull(t.Context(), spec(repo+":pinned"), nil, nil)
	must(t, err)
	resp, err = m.Status(t.Context(), spec(repo+":v1"), false)
	must(t, err)
	if d := cmp.Diff([]string{repo + ":pinned", repo + ":v1"}, resp.Image.RepoTags); d != "" || !resp.Image.Pinned {
		t.Errorf("pinned %v, tags (-want +got):\n%s", resp.Image.Pinned, d)
	}
	must(t, m.Remove(t.Context(), spec(id)))
	n.checkEmpty(t)
}

func TestPullByDigest(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	img := newImage(t, 1, nil)
	repo := reg.ref("app")
	reg.push(t, repo+":v1", img)
	byDigest := repo + "@" + digestOf(t, img)
	for _, ref := range []string{byDigest, repo + ":v1@" + digestOf(t, img)} {
		id, err := m.Pull(t.Context(), spec(ref), nil, nil)
		must(t, err)
		resp, err := m.Status(t.Context(), spec(ref), false)
		must(t, err)
		if id != idOf(t, img) || len(resp.Image.GetRepoTags()) != 0 || !slices.Equal(resp.Image.GetRepoDigests(), []string{byDigest}) {
			t.Errorf("%s: id %s, image %v", ref, id, resp.Image)
		}
	}
}

func TestPullMovesATag(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.ref("app:latest")
	before, after := newImage(t, 1, nil), newImage(t, 1, nil)
	for _, img := range []v1.Image{before, after} {
		reg.push(t, ref, img)
		id, err := m.Pull(t.Context(), spec(ref), nil, nil)
		must(t, err)
		if id != idOf(t, img) {
			t.Errorf("pull returned %s, want %s", id, idOf(t, img))
		}
	}
	resp, err := m.Status(t.Context(), spec(ref), false)
	must(t, err)
	if resp.Image.GetId() != idOf(t, after) {
		t.Errorf("the tag still points to the old image")
	}
	resp, err = m.Status(t.Context(), spec(idOf(t, before)), false)
	must(t, err)
	if resp.Image == nil || len(resp.Image.RepoTags) != 0 {
		t.Errorf("the old image is %v, want no tags", resp.Image)
	}
}

func TestPullKeepsForeignLabels(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	ref := reg.ref("app:v1")
	img := newImage(t, 1, nil)
	reg.push(t, ref, img)
	m := n.start(t, Options{})
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	record, err := n.images.Get(n.ctx, ref)
	must(t, err)
	record.Labels["nerdctl/keep"] = "me"
	_, err = n.images.Update(n.ctx, record, "labels.nerdctl/keep")
	must(t, err)
	reg.push(t, ref, newImage(t, 1, nil))
	_, err = m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	record, err = n.images.Get(n.ctx, ref)
	must(t, err)
	if want := map[string]string{labelManaged: valueManaged, "nerdctl/keep": "me"}; !maps.Equal(record.Labels, want) {
		t.Errorf("labels are %v, want %v", record.Labels, want)
	}
}

func TestPullForHandler(t *testing.T) {
	img := newImage(t, 2, nil)
	for name, tc := range map[string]struct {
		spec *runtimeapi.ImageSpec
		pod  *runtimeapi.PodSandboxConfig
		want string
	}{
		"default":                {spec: &runtimeapi.ImageSpec{}, want: defaultSnapshotter},
		"handler":                {spec: &runtimeapi.ImageSpec{RuntimeHandler: "kata"}, want: otherSnapshotter},
		"handler of the default": {spec: &runtimeapi.ImageSpec{RuntimeHandler: "runc"}, want: defaultSnapshotter},
		"annotation": {spec: &runtimeapi.ImageSpec{}, want: otherSnapshotter,
			pod: &runtimeapi.PodSandboxConfig{Annotations: map[string]string{annotationHandler: "kata"}}},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{Handlers: []string{"runc", "kata"}, HandlerSnapshotters: handlers})
			ref := reg.add(t, "app:v1", img)
			tc.spec.Image = ref
			id, err := m.Pull(t.Context(), tc.spec, nil, tc.pod)
			must(t, err)
			resolved, err := m.Resolve(t.Context(), id)
			must(t, err)
			for _, sn := range []string{defaultSnapshotter, otherSnapshotter} {
				unpacked, err := resolved.Handle.IsUnpacked(n.ctx, sn)
				must(t, err)
				if unpacked != (sn == tc.want) {
					t.Errorf("unpacked with %s: %v, want it with %s", sn, unpacked, tc.want)
				}
			}
		})
	}
}

func TestPullForUnknownHandler(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{Handlers: []string{"runc", "kata"}})
	_, err := m.Pull(t.Context(), handlerSpec("app", "gvisor"), nil, nil)
	checkClass(t, err, errdefs.ErrInvalidArgument)
	if err != nil && !strings.Contains(err.Error(), "kata") {
		t.Errorf("error should name the configured handlers: %v", err)
	}
}

func TestUnpackForAnotherHandler(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{HandlerSnapshotters: handlers})
	ref := reg.add(t, "app:v1", newImage(t, 2, nil))
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	img, err := m.Resolve(t.Context(), ref)
	must(t, err)
	for range 2 {
		must(t, m.Unpack(t.Context(), img, otherSnapshotter))
	}
	unpacked, err := img.Handle.IsUnpacked(n.ctx, otherSnapshotter)
	must(t, err)
	if !unpacked {
		t.Error("image is not unpacked")
	}
	checkClass(t, m.Unpack(t.Context(), img, "missing"), errdefs.ErrNotFound)
}

func TestPullRefusesReferences(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	for _, ref := range []string{
		"", " ", "UPPER", "a b", "good.io/../evil/i", "good.io/%2e%2e/e", "x:tag:tag", "x@sha256:short", "-x", "x\nlog",
		"sha256:" + strings.Repeat("a", 64), strings.Repeat("a", 64), strings.Repeat("a/", 200),
	} {
		_, err := m.Pull(t.Context(), spec(ref), nil, nil)
		checkClass(t, err, errdefs.ErrInvalidArgument)
	}
	_, err := m.Pull(t.Context(), nil, nil, nil)
	checkClass(t, err, errdefs.ErrInvalidArgument)
}

func TestPullFromMirror(t *testing.T) {
	n, mirror := newNode(t), newRegistry(t)
	img := newImage(t, 1, nil)
	mirror.push(t, mirror.ref("library/app:latest"), img)
	first, second := t.TempDir(), t.TempDir()
	toml := "server = \"http://127.0.0.1:1\"\n[host.\"" + mirror.URL + "\"]\n"
	writeHosts(t, first, "quay.io", toml)
	writeHosts(t, second, "docker.io", toml)
	m := n.start(t, Options{Registries: Registries{HostsDirs: []string{first, filepath.Join(first, "missing"), second}}})
	id, err := m.Pull(t.Context(), spec("app"), nil, nil)
	must(t, err)
	resp, err := m.Status(t.Context(), spec("docker.io/library/app:latest"), false)
	must(t, err)
	if id != idOf(t, img) || resp.Image.GetId() != id {
		t.Errorf("pulled %s, status %v", id, resp.Image)
	}
}

func TestPullSendsHeaders(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("X-Site") != "lab" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		next.ServeHTTP(w, r)
	})
	_, err := n.start(t, Options{Registries: Registries{Headers: http.Header{"X-Site": {"lab"}}}}).Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
}

// hold makes the registry delay requests for blobs until release is called. reached is closed at
// the first of them.
func (r *testRegistry) hold(t *testing.T) (reached <-chan struct{}, release func()) {
	t.Helper()
	first, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.breakWith(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.Contains(req.URL.Path, "/blobs/") {
			once.Do(func() { close(first) })
			select {
			case <-gate:
			case <-req.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, req)
	})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return first, release
}

// waitCounter is the context of a call. It counts the waits for its end: a call of Pull begins to
// wait when it has joined a transfer.
type waitCounter struct {
	context.Context
	waits *atomic.Int64
}

func (c waitCounter) Done() <-chan struct{} {
	c.waits.Add(1)
	return c.Context.Done()
}

// transfers returns the number of pulls in progress. Each has a lease.
func (n *node) transfers(t *testing.T) int {
	t.Helper()
	held, err := n.leases.List(n.ctx)
	must(t, err)
	return len(held)
}

func TestPullsOfOneImageShareATransfer(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{MaxConcurrentDownloads: 2})
	ref := reg.ref("app:v1")
	img := newImage(t, 3, nil)
	reg.push(t, ref, img)
	reached, release := reg.hold(t)

	const calls = 5
	quitter, quit := context.WithCancel(t.Context())
	var pulls sync.WaitGroup
	var joined atomic.Int64
	left := make(chan struct{})
	for i := range calls {
		pulls.Go(func() {
			ctx := t.Context()
			if i == 0 {
				ctx = quitter
			}
			id, err := m.Pull(waitCounter{ctx, &joined}, spec(ref), nil, nil)
			if i == 0 {
				checkClass(t, err, context.Canceled)
				close(left)
			} else if err != nil || id != idOf(t, img) {
				t.Errorf("pull %d: %s, %v", i, id, err)
			}
		})
	}
	<-reached
	wait(t, "all calls to join", func() bool { return joined.Load() == calls })
	before := reg.requests.Load()
	quit()
	<-left
	if running := n.transfers(t); running != 1 {
		t.Errorf("%d transfers for one image", running)
	}
	release()
	pulls.Wait()
	if after := reg.requests.Load(); after > before+4 {
		t.Errorf("%d requests for three layers and a config", after-before)
	}
}

func TestPullsWithOtherCredentialsDoNotShare(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	reached, release := reg.hold(t)
	var pulls sync.WaitGroup
	for _, password := range []string{"one", "two"} {
		pulls.Go(func() {
			_, err := m.Pull(t.Context(), spec(ref), &runtimeapi.AuthConfig{Username: "u", Password: password}, nil)
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-reached
	wait(t, "both pulls", func() bool { return n.transfers(t) == 2 })
	release()
	pulls.Wait()
}

func TestPullEndsWithItsLastCaller(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	reached, _ := reg.hold(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	_, err := m.Pull(ctx, spec(ref), nil, nil)
	checkClass(t, err, context.Canceled)
	m.pulls.Close() // returns although the registry still delays the layer
	n.checkEmpty(t)
}

func TestPullDeadline(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	reg.hold(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	_, err := m.Pull(ctx, spec(ref), nil, nil)
	if code := status.Code(errgrpc.ToGRPC(err)); code != codes.DeadlineExceeded {
		t.Errorf("code %v, want DeadlineExceeded: %v", code, err)
	}
}

// TestPullsEndWithTheService ends the service with Close, and by the end of its context.
func TestPullsEndWithTheService(t *testing.T) {
	for name, end := range map[string]func(*Manager){
		"close":   func(m *Manager) { must(t, m.Close()) },
		"context": func(m *Manager) { m.cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.add(t, "app:v1", newImage(t, 1, nil))
			reached, _ := reg.hold(t)
			result := make(chan error)
			go func() {
				_, err := m.Pull(t.Context(), spec(ref), nil, nil)
				result <- err
			}()
			<-reached
			end(m)
			checkClass(t, <-result, context.Canceled)
			_, err := m.Pull(t.Context(), spec(ref), nil, nil)
			checkClass(t, err, errdefs.ErrUnavailable)
		})
	}
}
