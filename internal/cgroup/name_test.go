// SPDX-License-Identifier: Apache-2.0

package cgroup

import "testing"

func TestExpand(t *testing.T) {
	for in, want := range map[string]string{
		"/kubepods/burstable/pod1/abc": "/kubepods/burstable/pod1/abc",
		"k8s.io/abc":                   "k8s.io/abc",
		"kubepods-burstable-pod1_2.slice:cri-containerd:abc": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-abc.scope",
		"kubepods.slice:cri-containerd:abc":                  "/kubepods.slice/cri-containerd-abc.scope",
		"-.slice:cri-containerd:abc":                         "/cri-containerd-abc.scope",
		":cri-containerd:abc":                                "/system.slice/cri-containerd-abc.scope",
		"a.slice:x:a-b.slice":                                "/a.slice/a-b.slice",
		"kubepods-besteffort-pod1.slice":                     "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice",
		"/kubepods.slice":                                    "/kubepods.slice",
		"/kubepods.slice/kubepods-besteffort.slice":          "/kubepods.slice/kubepods-besteffort.slice",
		"/kubepods.slice/kubepods-pod1.slice":                "/kubepods.slice/kubepods-pod1.slice",
		"kubepods.slice/kubepods-pod1.slice":                 "kubepods.slice/kubepods-pod1.slice",
	} {
		if got := Expand(in); got != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestScope(t *testing.T) {
	for path, want := range map[string]bool{
		"system.slice:docker:abc":                true,
		"kubepods-pod1.slice:cri-containerd:abc": true,
		":nerdctl:abc":                           true,
		"/docker/abc":                            false,
		"/kubepods.slice/kubepods-pod1.slice":    false,
		"a:b:c":                                  false,
		"system.slice:docker":                    false,
		"system.slice:docker:":                   false,
		"system.slice:docker:abc:def":            false,
		"":                                       false,
	} {
		if got := Scope(path); got != want {
			t.Errorf("Scope(%q) = %t, want %t", path, got, want)
		}
	}
}
