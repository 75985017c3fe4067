// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/check"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/cri"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// node implements [cri.Node]: the requests that are not about a pod, container or image.
type node struct {
	network  *network.Network
	plugins  *nri.Plugins
	config   *config.Live
	specs    *specgen.Live
	dirs     dirs
	checks   *check.Runner
	warnings func(context.Context) (map[string]string, error) // of containerd
}

var _ cri.Node = node{}

// NetworkStatus returns the reason why pods of the default handler cannot be attached to a network,
// or nil. Without a usable configuration the text is that of the built-in CRI, which tools search
// for.
func (n node) NetworkStatus() error {
	handler := n.config.Get().Runtime.Containerd.DefaultRuntimeName
	if _, err := n.network.Info(handler); err != nil {
		return fmt.Errorf("cni plugin not initialized: %w", err)
	}
	return n.network.Status(handler)
}

// Handlers returns the runtime handlers with their features, by name. The first is the default
// handler.
func (n node) Handlers() []*runtimeapi.RuntimeHandler {
	var list []*runtimeapi.RuntimeHandler
	runtime, specs := n.config.Get().Runtime, n.specs.Get()
	for _, name := range runtime.HandlerNames() {
		f := specs.Facts.Features(specs.Features[name])
		list = append(list, &runtimeapi.RuntimeHandler{Name: name, Features: f})
		if name == runtime.Containerd.DefaultRuntimeName {
			list = slices.Insert(list, 0, &runtimeapi.RuntimeHandler{Name: "", Features: f})
		}
	}
	return list
}

// SystemdCgroup reports whether the handlers use the systemd cgroup driver (KEP-4033). If no
// handler configures it, the driver is systemd if systemd runs, which is detected as in
// sd_booted(3).
func (n node) SystemdCgroup() bool {
	if systemd, known, _ := n.config.Get().Runtime.CgroupDriver(); known {
		return systemd
	}
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// UsePodCIDRs creates a CNI configuration from cni.conf_template.
func (n node) UsePodCIDRs(ctx context.Context, cidrs string) error {
	return n.network.UsePodCIDRs(ctx, cidrs)
}

// Deprecations returns containerd's deprecation warnings except those in
// ignore_deprecation_warnings.
func (n node) Deprecations(ctx context.Context) (map[string]string, error) {
	messages, err := n.warnings(ctx)
	for _, id := range n.config.Get().Runtime.IgnoreDeprecationWarnings {
		delete(messages, id)
	}
	return messages, err
}

// shownConfig is the configuration as `crictl info` shows it: the keys that the built-in CRI shows,
// and the tables that it does not show. Neither has credentials of registries (see
// [config.Registry]).
type shownConfig struct {
	config.Runtime
	dirs
	Images config.Images `json:"images"`
	Server config.Server `json:"server"`
}

// dirs are the paths of containerd and of the plugin.
type dirs struct {
	ContainerdRootDir  string `json:"containerdRootDir"`
	ContainerdEndpoint string `json:"containerdEndpoint"`
	RootDir            string `json:"rootDir"`
	StateDir           string `json:"stateDir"`
}

func newDirs(deps Deps) dirs {
	return dirs{
		ContainerdRootDir:  deps.paths().Containerd(),
		ContainerdEndpoint: deps.Endpoint,
		RootDir:            deps.RootDir,
		StateDir:           deps.StateDir,
	}
}

// Info returns the configuration, the CNI configuration with the result of loading it (also for
// each handler that has its own), the number of recovered panics, and under check.*, the
// problems that `containerd-lite check` reports. Each panic is a bug, and its stack is in the log.
func (n node) Info(ctx context.Context) (map[string]string, error) {
	info := map[string]string{"lastCNILoadStatus": n.loadStatus("")}
	info["lastCNILoadStatus.default"] = info["lastCNILoadStatus"]
	now := n.config.Get()
	for name, h := range now.Runtime.Containerd.Runtimes {
		if h.CNIConfDir != "" {
			info["lastCNILoadStatus."+name] = n.loadStatus(name)
		}
	}
	cni, _ := n.network.Info("") // the error is the load status
	if !now.Runtime.CNI.UseInternalLoopback {
		cni.Networks = slices.Insert(cni.Networks, 0, loopback())
	}
	shown := shownConfig{Runtime: now.Runtime, dirs: n.dirs, Images: now.Images, Server: now.Server}
	parts := map[string]any{"config": shown, "cniconfig": cni, "golang": goruntime.Version(), "panics": guard.Count(), "nri": n.plugins.Status()}
	for key, value := range parts {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		info[key] = string(text)
	}
	for _, f := range n.checks.Problems(ctx, checkTimeout) {
		key := "check." + f.Check
		info[key] = strings.TrimPrefix(info[key]+fmt.Sprintf("; %s: %s (%s)", f.Level, f.What, f.Do), "; ")
	}
	return info, nil
}

// loopback is the first network in the answer of the built-in CRI: scripts that read `crictl info`
// expect the pod's network to be the second. Here lo is configured without a plugin.
func loopback() *gocni.ConfNetwork {
	return &gocni.ConfNetwork{IFName: "lo", Config: &gocni.NetworkConfList{
		Name:       "cni-loopback",
		CNIVersion: "0.3.1",
		Plugins:    []*gocni.NetworkConf{{Network: &types.PluginConf{Type: "loopback"}, Source: `{"type":"loopback"}`}},
		Source:     `{"cniVersion":"0.3.1","name":"cni-loopback","plugins":[{"type":"loopback"}]}`,
	}}
}

func (n node) loadStatus(handler string) string {
	if _, err := n.network.Info(handler); err != nil {
		return err.Error()
	}
	return "OK"
}
