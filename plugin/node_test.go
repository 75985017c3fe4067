// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// infoOf returns the output of `crictl info` for a configuration.
func infoOf(t *testing.T, c config.Config) map[string]string {
	t.Helper()
	d := newDirs(Deps{RootDir: "/r/cri", StateDir: "/s/cri", Endpoint: "/s/sock"})
	live, specs := config.NewLive(c), specgen.NewLive(&specgen.Generator{})
	n := node{
		network: network.New(networkOptions(c.Runtime)), plugins: nri.Disabled(), config: live, specs: specs,
		dirs: d, checks: newChecks(live, specs, d),
	}
	info, err := n.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Keys in the output of the built-in CRI, from its structs. integration/suite/dropin compares with
// its real output.
const (
	builtInConfig = `cdiSpecDirs cni containerd containerdEndpoint containerdRootDir device_ownership_from_security_context disableApparmor
		disableHugetlbController disableProcMount drainExecSyncIOTimeout enableCRIU enableSelinux enableUnprivilegedICMP
		enableUnprivilegedPorts ignoreDeprecationWarnings ignoreImageDefinedVolumes maxContainerLogLineSize netnsMountsUnderStateDir
		restrictOOMScoreAdj rootDir selinuxCategoryRange stateDir statsCollectPeriod statsRetentionPeriod
		tolerateMissingHugetlbController unsetSeccompProfile`
	builtInContainerd = `defaultRuntimeName ignoreBlockIONotEnabledErrors ignoreRdtNotEnabledErrors runtimes`
	builtInCNI        = `binDirs confDir confTemplate ipPref maxConfNum setupSerially useInternalLoopback`
	builtInHandler    = `ContainerAnnotations PodAnnotations baseRuntimeSpec cgroupWritable cniConfDir cniMaxConfNum disablePauseImagePull io_type options
		privileged_without_host_devices privileged_without_host_devices_all_devices_allowed runtimePath runtimeType sandboxer snapshotter`
)

func TestInfoHasTheConfigOfTheBuiltInCRI(t *testing.T) {
	c := config.Config{Images: config.DefaultImages(), Runtime: config.DefaultRuntime(), Server: config.DefaultServer()}
	var shown map[string]any
	if err := json.Unmarshal([]byte(infoOf(t, c)["config"]), &shown); err != nil {
		t.Fatal(err)
	}
	containerd := shown["containerd"].(map[string]any)
	for _, table := range []struct {
		names string
		ours  []string
		got   any
	}{
		{builtInConfig, []string{"images", "lite", "server"}, shown},
		{builtInContainerd, nil, containerd},
		{builtInCNI, nil, shown["cni"]},
		{builtInHandler, nil, containerd["runtimes"].(map[string]any)["runc"]},
	} {
		want := slices.Sorted(slices.Values(append(strings.Fields(table.names), table.ours...)))
		if got := slices.Sorted(maps.Keys(table.got.(map[string]any))); !slices.Equal(got, want) {
			t.Errorf("keys %q\nwant %q", got, want)
		}
	}
	for key, want := range map[string]string{"rootDir": "/r/cri", "stateDir": "/s/cri", "containerdRootDir": "/r", "containerdEndpoint": "/s/sock"} {
		if shown[key] != want {
			t.Errorf("%s = %v, want %s", key, shown[key], want)
		}
	}
}

// TestInfoKeepsCredentials puts a secret in all places where a registry's credentials may be
// configured.
func TestInfoKeepsCredentials(t *testing.T) {
	const secret = "hunter2"
	c := config.Config{Images: config.DefaultImages(), Runtime: config.DefaultRuntime()}
	auth := config.Auth{Username: "bob", Password: secret, Auth: secret, IdentityToken: secret}
	c.Images.Registry = config.Registry{
		Headers: map[string][]string{"Authorization": {secret}},
		Mirrors: map[string]config.Mirror{"a.test": {Endpoints: []string{"https://bob:" + secret + "@b.test"}}},
		Configs: map[string]config.RegistryConfig{"a.test": {Auth: &auth}},
		Auths:   map[string]config.Auth{"a.test": auth},
	}
	for key, text := range infoOf(t, c) {
		if strings.Contains(text, secret) {
			t.Errorf("%s has the secret: %s", key, text)
		}
	}
}

// Scripts expect the pod's network as the second after loopback.
func TestInfoCountsNetworksFromLoopback(t *testing.T) {
	c := config.Config{Runtime: config.DefaultRuntime()}
	for internal, want := range map[bool]int{false: 1, true: 0} {
		c.Runtime.CNI.UseInternalLoopback = internal
		var shown struct{ Networks []struct{ IFName string } }
		if err := json.Unmarshal([]byte(infoOf(t, c)["cniconfig"]), &shown); err != nil {
			t.Fatal(err)
		}
		if len(shown.Networks) != want || want == 1 && shown.Networks[0].IFName != "lo" {
			t.Errorf("use_internal_loopback = %v: networks %v", internal, shown.Networks)
		}
	}
}

// `crictl info` shows how many panics were recovered.
func TestInfoCountsPanics(t *testing.T) {
	_ = guard.Call(t.Context(), "test", func() error { panic("boom") })
	info := infoOf(t, config.Config{Runtime: config.DefaultRuntime()})
	if want := strconv.FormatInt(guard.Count(), 10); info["panics"] != want || want == "0" {
		t.Errorf("panics = %s, want %s, more than 0", info["panics"], want)
	}
}
