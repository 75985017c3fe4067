// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

func testPod() *pod.Record {
	return &pod.Record{
		ID:        "p1234",
		Requested: "lite",
		State:     pod.Ready,
		CreatedAt: 5,
		Config: &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "u1"},
			Labels:   map[string]string{"app": "web"},
		},
		Network: network.Result{IP: "10.0.0.2", AdditionalIPs: []string{"fd00::2"}},
	}
}

func testContainer() *container.Record {
	return &container.Record{
		ID:         "c1234",
		PodID:      "p1234",
		Image:      container.Image{ID: "sha256:1", Name: "busybox"},
		LogDir:     "/var/log/pods/web",
		StopSignal: "SIGTERM",
		Times:      container.Times{Created: 1, Started: 2, Finished: 3},
		Exit:       container.Exit{Code: 7, Reason: container.ReasonError},
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "app"},
			Labels:   map[string]string{"app": "web"},
			LogPath:  "app/0.log",
			Envs:     []*runtimeapi.KeyValue{{Key: "PASSWORD", Value: []byte("hunter2")}},
		},
	}
}

func TestPodStatus(t *testing.T) {
	want := &runtimeapi.PodSandboxStatus{
		Id:             "p1234",
		Metadata:       &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "u1"},
		CreatedAt:      5,
		Labels:         map[string]string{"app": "web"},
		RuntimeHandler: "lite",
		Network:        &runtimeapi.PodSandboxNetworkStatus{Ip: "10.0.0.2", AdditionalIps: []*runtimeapi.PodIP{{Ip: "fd00::2"}}},
		Linux:          &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: &runtimeapi.NamespaceOption{}}},
	}
	if diff := cmp.Diff(want, podStatus(testPod()), protocmp.Transform()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// The address of a stopped pod may belong to another pod by now.
func TestStoppedPodHasNoAddress(t *testing.T) {
	r := testPod()
	r.State = pod.Stopped
	status := podStatus(r)
	if status.GetNetwork().GetIp() != "" || status.GetState() != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("status = %v", status)
	}
}

func TestContainerStatus(t *testing.T) {
	want := &runtimeapi.ContainerStatus{
		Id:         "c1234",
		Metadata:   &runtimeapi.ContainerMetadata{Name: "app"},
		State:      runtimeapi.ContainerState_CONTAINER_EXITED,
		CreatedAt:  1,
		StartedAt:  2,
		FinishedAt: 3,
		ExitCode:   7,
		Reason:     "Error",
		Image:      &runtimeapi.ImageSpec{Image: "docker.io/library/busybox:1"},
		ImageRef:   "docker.io/library/busybox@sha256:2",
		ImageId:    "sha256:1",
		Labels:     map[string]string{"app": "web"},
		LogPath:    "/var/log/pods/web/app/0.log",
		StopSignal: runtimeapi.Signal_SIGNAL_SIGTERM,
	}
	s := New(Deps{Images: imageNames([]string{"docker.io/library/busybox:1"}, []string{"docker.io/library/busybox@sha256:2"})})
	if diff := cmp.Diff(want, s.containerStatus(testContainer()), protocmp.Transform()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// imageNames returns an image service that has the image of testContainer, with these names.
func imageNames(tags, digests []string) Images {
	return fakeImages{byID: map[string]image.Image{"sha256:1": {ID: "sha256:1", Tags: tags, Digests: digests}}}
}

// TestImageOfAContainer expects what the built-in CRI reports for an image with each kind of names.
func TestImageOfAContainer(t *testing.T) {
	const tag, tag2, digest = "docker.io/library/app:1", "docker.io/library/app:2", "docker.io/library/app@sha256:2"
	asked := &runtimeapi.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "app", Annotations: map[string]string{"a": "b"}}
	for name, tc := range map[string]struct {
		images Images
		spec   *runtimeapi.ImageSpec
		ref    string
	}{
		"tag and digest":           {imageNames([]string{tag, tag2}, []string{digest}), &runtimeapi.ImageSpec{Image: tag}, digest},
		"pulled by digest":         {imageNames(nil, []string{digest}), asked, digest},
		"imported, without digest": {imageNames([]string{tag}, nil), &runtimeapi.ImageSpec{Image: tag}, "sha256:1"},
		"removed":                  {fakeImages{}, asked, "sha256:1"},
	} {
		r := testContainer()
		r.Config.Image = asked
		spec, ref := New(Deps{Images: tc.images}).imageOf(r)
		if diff := cmp.Diff(tc.spec, spec, protocmp.Transform()); diff != "" || ref != tc.ref {
			t.Errorf("%s: image_ref %q, want %q; image (-want +got):\n%s", name, ref, tc.ref, diff)
		}
		item := containerItem(r)
		if diff := cmp.Diff(asked, item.Image, protocmp.Transform()); diff != "" || item.ImageRef != "sha256:1" || item.ImageId != "sha256:1" {
			t.Errorf("%s: in a list: %v", name, item)
		}
	}
}

func TestFilters(t *testing.T) {
	exited := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_EXITED}
	running := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}
	for _, tc := range []struct {
		filter *runtimeapi.ContainerFilter
		want   bool
	}{
		{nil, true},
		{&runtimeapi.ContainerFilter{}, true},
		{&runtimeapi.ContainerFilter{Id: "c12"}, true},
		{&runtimeapi.ContainerFilter{Id: "c13"}, false},
		{&runtimeapi.ContainerFilter{PodSandboxId: "p1234"}, true},
		{&runtimeapi.ContainerFilter{PodSandboxId: "p2"}, false},
		{&runtimeapi.ContainerFilter{State: exited}, true},
		{&runtimeapi.ContainerFilter{State: running}, false},
		{&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"app": "web"}}, true},
		{&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"app": "web", "tier": "db"}}, false},
		{&runtimeapi.ContainerFilter{Id: "c12", State: running}, false},
	} {
		if got := containerMatches(testContainer(), tc.filter); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.filter, got, tc.want)
		}
	}
	notReady := &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}
	if podMatches(testPod(), &runtimeapi.PodSandboxFilter{State: notReady}) {
		t.Error("a ready pod matches NOTREADY")
	}
	if !podMatches(testPod(), &runtimeapi.PodSandboxFilter{Id: "p1", LabelSelector: map[string]string{"app": "web"}}) {
		t.Error("a pod does not match its own labels")
	}
}
