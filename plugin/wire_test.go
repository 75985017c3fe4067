// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// TestRegistryOptions checks the options of the image manager for registries in a config.
func TestRegistryOptions(t *testing.T) {
	c := config.Config{Images: config.DefaultImages()}
	dirs := []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}
	if diff := cmp.Diff(dirs, imageOptions(Deps{Config: c}).HostsDirs); diff != "" {
		t.Errorf("directories by default (-want +got):\n%s", diff)
	}
	c.Images.Registry.Mirrors = map[string]config.Mirror{"docker.io": {Endpoints: []string{"https://mirror.test"}}}
	if diff := cmp.Diff(map[string][]string{"docker.io": {"https://mirror.test"}}, imageOptions(Deps{Config: c}).Mirrors); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
	c.Images.Registry = config.Registry{
		ConfigPath: "/a:/b",
		Configs: map[string]config.RegistryConfig{
			"one.test": {Auth: &config.Auth{Username: "bob", Password: "secret"}},
			"two.test": {Auth: &config.Auth{Username: "bob"}},
			"tls.test": {},
		},
		Auths: map[string]config.Auth{
			"https://two.test/v2/": {IdentityToken: "token"},
			"three.test:5000":      {Auth: "Ym9iOnNlY3JldA=="},
		},
	}
	got := imageOptions(Deps{Config: c})
	if diff := cmp.Diff([]string{"/a", "/b"}, got.HostsDirs); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
	want := map[string]*runtimeapi.AuthConfig{
		"one.test":        {Username: "bob", Password: "secret"},
		"two.test":        {IdentityToken: "token"},
		"three.test:5000": {Auth: "Ym9iOnNlY3JldA=="},
	}
	if diff := cmp.Diff(want, got.Credentials, protocmp.Transform()); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
}

// Snapshotters get labels for remote layers if they request them, or if
// disable_snapshot_annotations is false.
func TestSnapshottersWithLabels(t *testing.T) {
	deps := Deps{Config: config.Config{Images: config.DefaultImages()}, RemoteSnapshotters: []string{"stargz"}}
	for _, disabled := range []bool{true, false} {
		deps.Config.Images.DisableSnapshotAnnotations = disabled
		annotated := imageOptions(deps).Annotated
		if !annotated("stargz") || annotated("overlayfs") == disabled {
			t.Errorf("disabled %v: stargz %v, overlayfs %v", disabled, annotated("stargz"), annotated("overlayfs"))
		}
	}
}
