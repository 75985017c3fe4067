// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/imageverifier"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	crierrors "k8s.io/cri-api/pkg/errors"
)

// respond returns a fault that responds to every request with one status.
func respond(code int) faultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(code) }
}

// onBlobs returns a fault that changes the bodies of blobs of at least the size of a layer.
func onBlobs(change func(w http.ResponseWriter, body []byte)) faultFunc {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		if strings.Contains(r.URL.Path, "/blobs/") && rec.Body.Len() >= 1000 {
			change(w, rec.Body.Bytes())
			return
		}
		for key, values := range rec.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}
}

func TestPullFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault       faultFunc
		class       error
		unavailable bool
		says        string
	}{
		"not found":         {fault: respond(404), class: errdefs.ErrNotFound, says: "check the image's name"},
		"unauthorized":      {fault: respond(401), class: errdefs.ErrUnauthenticated, says: "imagePullSecrets"},
		"forbidden":         {fault: respond(403), class: errdefs.ErrPermissionDenied, says: "imagePullSecrets"},
		"too many requests": {fault: respond(429), class: errdefs.ErrResourceExhausted, says: "429"},
		"server error":      {fault: respond(500), class: errdefs.ErrUnknown, unavailable: true, says: "500"},
		"bad gateway":       {fault: respond(502), class: errdefs.ErrUnknown, unavailable: true, says: "502"},
		"connection closed": {fault: func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
			class: errdefs.ErrUnknown, unavailable: true},
		"layer missing": {fault: onBlobs(func(w http.ResponseWriter, _ []byte) { w.WriteHeader(404) }),
			class: errdefs.ErrNotFound, says: "sha256:"},
		"layer with other content": {fault: onBlobs(func(w http.ResponseWriter, b []byte) {
			_, _ = w.Write(bytes.ToUpper(b))
		}), class: errdefs.ErrDataLoss, says: "digest"},
		"layer too short": {fault: onBlobs(func(w http.ResponseWriter, b []byte) { _, _ = w.Write(b[:len(b)/2]) }),
			class: errdefs.ErrDataLoss, says: "unexpected EOF"},
		"layer cut off": {fault: onBlobs(func(w http.ResponseWriter, b []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			_, _ = w.Write(b[:len(b)/2])
		}), class: errdefs.ErrDataLoss, says: "unexpected EOF"},
		"layer reset": {fault: onBlobs(func(w http.ResponseWriter, b []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			_, _ = w.Write(b[:len(b)/2])
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_ = buffered.Flush()
			_ = conn.(*net.TCPConn).SetLinger(0) // closing sends a reset
			conn.Close()
		}), class: errdefs.ErrUnknown, unavailable: true, says: "reset"},
		"layer too long": {fault: onBlobs(func(w http.ResponseWriter, b []byte) {
			_, _ = w.Write(append(b, b...))
		}), class: errdefs.ErrDataLoss, says: "size"},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.add(t, "team/app:v1", newImage(t, 2, nil))
			reg.breakWith(tc.fault)
			_, err := m.Pull(t.Context(), spec(ref), nil, nil)
			checkClass(t, err, tc.class)
			if err == nil {
				return
			}
			text := err.Error()
			if !strings.Contains(text, ref) || !strings.Contains(text, reg.ref("")[:len(reg.ref(""))-1]) || !strings.Contains(text, tc.says) {
				t.Errorf("error should name image, registry and %q: %s", tc.says, text)
			}
			if tc.unavailable {
				checkReason(t, err, crierrors.ErrRegistryUnavailable)
			} else if strings.HasPrefix(text, crierrors.ErrRegistryUnavailable.Error()) {
				t.Errorf("the kubelet reports the registry as unavailable: %s", text)
			}
			n.checkEmpty(t)

			reg.repair()
			_, err = m.Pull(t.Context(), spec(ref), nil, nil)
			must(t, err) // the failure left nothing that prevents a pull
		})
	}
}

func TestPullFromClosedPort(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	ref := reg.ref("app:v1")
	reg.Close()
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	checkClass(t, err, errdefs.ErrUnknown)
	checkReason(t, err, crierrors.ErrRegistryUnavailable)
}

// checkReason fails unless the kubelet recognizes the reason: k8s.io/cri-client passes on the plain
// text of errors with code Unknown, and the kubelet checks how it starts.
func checkReason(t *testing.T, err, reason error) {
	t.Helper()
	s := status.Convert(errgrpc.ToGRPC(err))
	if s.Code() != codes.Unknown || !strings.HasPrefix(s.Message(), reason.Error()+": ") {
		t.Errorf("the kubelet does not recognize %v in %v", reason, s)
	}
}

// verdict is an image verifier that returns the same result for all images.
type verdict struct {
	judgement imageverifier.Judgement
	err       error
}

func (v verdict) VerifyImage(context.Context, string, ocispec.Descriptor) (*imageverifier.Judgement, error) {
	return &v.judgement, v.err
}

func TestPullOfAnImageThatAVerifierRefuses(t *testing.T) {
	for name, v := range map[string]verdict{
		"refused":                     {judgement: imageverifier.Judgement{Reason: "not signed by us"}},
		"no judgement":                {err: errors.New("not signed by us")},
		"no judgement, with a class":  {err: fmt.Errorf("not signed by us: %w", errdefs.ErrInvalidArgument)},
		"no judgement, out of memory": {err: fmt.Errorf("not signed by us: %w", errdefs.ErrUnavailable)},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.add(t, "app:v1", newImage(t, 1, nil))
			n.verifiers["policy"] = v
			_, err := m.Pull(t.Context(), spec(ref), nil, nil)
			checkReason(t, err, crierrors.ErrSignatureValidationFailed)
			if text := fmt.Sprint(err); !strings.Contains(text, "policy") || !strings.Contains(text, "not signed by us") {
				t.Errorf("error should name the verifier and its reason: %v", err)
			}
			n.checkEmpty(t)

			n.verifiers["policy"] = verdict{judgement: imageverifier.Judgement{OK: true}}
			_, err = m.Pull(t.Context(), spec(ref), nil, nil)
			must(t, err)
		})
	}
}

func TestPullFromUntrustedRegistry(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{Registries: Registries{HostsDirs: []string{t.TempDir()}}})
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	writeHosts(t, m.live.Load().HostsDirs[0], "registry.test", fmt.Sprintf("server = %q\n", server.URL))
	_, err := m.Pull(t.Context(), spec("registry.test/app"), nil, nil)
	checkClass(t, err, errdefs.ErrFailedPrecondition)
	if err != nil && !strings.Contains(err.Error(), "hosts.toml") {
		t.Errorf("error should name hosts.toml, where the CA is set: %v", err)
	}
}

func TestPullStalls(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{ProgressTimeout: 50 * time.Millisecond})
	ref := reg.add(t, "app:v1", newImage(t, 1, nil))
	reg.hold(t)
	_, err := m.Pull(t.Context(), spec(ref), nil, nil)
	checkClass(t, err, context.DeadlineExceeded)
	if err == nil || !strings.Contains(err.Error(), "image_pull_progress_timeout") {
		t.Errorf("error should name the setting: %v", err)
	}
	n.checkEmpty(t)
}

func TestPullOfNonImages(t *testing.T) {
	plain := newImage(t, 1, nil)
	otherPlatform := newImage(t, 1, func(f *v1.ConfigFile) { f.Architecture = "s390x" })
	index := mutate.IndexMediaType(mutate.AppendManifests(emptyIndex(), mutate.IndexAddendum{
		Add: otherPlatform, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}},
	}), types.OCIImageIndex)
	for name, tc := range map[string]struct {
		push  func(t *testing.T, reg *testRegistry, ref string)
		class error
		says  string
	}{
		"artifact": {class: errdefs.ErrInvalidArgument, says: "artifact", push: func(t *testing.T, reg *testRegistry, ref string) {
			artifact := newImage(t, 1, func(f *v1.ConfigFile) { f.RootFS.DiffIDs = nil })
			reg.push(t, ref, mutate.ConfigMediaType(artifact, "application/vnd.acme.model.config+json"))
		}},
		"long user": {class: errdefs.ErrInvalidArgument, says: "user", push: func(t *testing.T, reg *testRegistry, ref string) {
			reg.push(t, ref, newImage(t, 1, func(f *v1.ConfigFile) { f.Config.User = strings.Repeat("u", maxUser+1) }))
		}},
		"other platform": {class: errdefs.ErrNotFound, says: "platform", push: func(t *testing.T, reg *testRegistry, ref string) {
			reg.pushIndex(t, ref, index)
		}},
		"oversized config": {class: errdefs.ErrInvalidArgument, says: "the maximum is", push: func(t *testing.T, reg *testRegistry, ref string) {
			reg.push(t, ref, declareConfigSize(t, plain, maxMetadata+1))
		}},
		"schema 1": {class: errdefs.ErrInvalidArgument, says: "schema 1", push: func(t *testing.T, reg *testRegistry, ref string) {
			reg.push(t, ref, mutate.MediaType(plain, types.DockerManifestSchema1Signed))
		}},
		"negative size": {class: errdefs.ErrInvalidArgument, says: "size", push: func(t *testing.T, reg *testRegistry, ref string) {
			reg.push(t, ref, declareConfigSize(t, plain, -1))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			m := n.start(t, Options{})
			ref := reg.ref("app:v1")
			tc.push(t, reg, ref)
			_, err := m.Pull(t.Context(), spec(ref), nil, nil)
			checkClass(t, err, tc.class)
			if err != nil && (!strings.Contains(err.Error(), ref) || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("error should name the image and %q: %v", tc.says, err)
			}
			n.checkEmpty(t)
		})
	}
}

// TestPullOfAnIndex checks that only one image of an index is fetched: that of the platform.
func TestPullOfAnIndex(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{})
	mine := newImage(t, 1, nil)
	// The second of others has the same platform, but comes after mine.
	others := []v1.Image{newImage(t, 1, func(f *v1.ConfigFile) { f.Architecture = "s390x" }), newImage(t, 1, nil)}
	ref := reg.ref("app:v1")
	reg.pushIndex(t, ref, mutate.AppendManifests(emptyIndex(),
		addend(others[0], "s390x"), addend(mine, thisArchitecture()), addend(others[1], thisArchitecture())))
	id, err := m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	if id != idOf(t, mine) {
		t.Errorf("pulled %s, want %s", id, idOf(t, mine))
	}
	for _, other := range others {
		layers, err := other.Layers()
		must(t, err)
		hash, err := layers[0].Digest()
		must(t, err)
		if n.has(hash.String()) {
			t.Error("the layer of another image was fetched")
		}
	}
}
