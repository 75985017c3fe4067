// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/plugin"
	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// load reads a config.toml with containerd's own loader and returns the CRI's tables and the
// unknown keys in them.
func load(t *testing.T, path string) (Config, []string) {
	t.Helper()
	merged := &srvconfig.Config{Version: currentVersion, Plugins: map[string]any{}}
	plugins := func() iter.Seq[plugin.Registration] {
		return slices.Values([]plugin.Registration{{Type: "io.containerd.grpc.v1", ID: "cri", ConfigMigration: Migrate}})
	}
	if err := srvconfig.LoadConfigWithPlugins(context.Background(), path, plugins, merged); err != nil {
		t.Fatal(err)
	}
	c := Config{DefaultImages(), DefaultRuntime(), DefaultServer()}
	unknown := slices.Concat(
		decodeTable(t, merged, ImagesTable, &c.Images),
		decodeTable(t, merged, RuntimeTable, &c.Runtime),
		decodeTable(t, merged, ServerTable, &c.Server))
	return c, unknown
}

func decodeTable(t *testing.T, merged *srvconfig.Config, table string, into any) (unknown []string) {
	t.Helper()
	if merged.Plugins[table] == nil {
		return nil
	}
	data, err := toml.Marshal(merged.Plugins[table])
	if err != nil {
		t.Fatal(err)
	}
	err = toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(into)
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) {
		for _, e := range missing.Errors {
			unknown = append(unknown, KeyPath(table, e.Key()...))
		}
		err = toml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return unknown
}

// TestRealFiles reads files that other projects write. None has an error or an unknown key.
func TestRealFiles(t *testing.T) {
	for _, test := range []struct {
		file    string
		want    func(c *Config)
		pending []string
	}{
		{file: "docker-v1", want: func(c *Config) {
			c.Images.PinnedImages["sandbox"] = "registry.example.com/pause:3.1"
			c.Images.Snapshotter = "native"
			c.Runtime.CNI.BinDirs = []string{"/usr/lib/cni"}
		}},
		{file: "kubeadm-1.7", want: func(c *Config) {
			c.Images.PinnedImages["sandbox"] = "registry.k8s.io/pause:3.9"
			c.Runtime.EnableUnprivilegedICMP = false
			c.Runtime.EnableUnprivilegedPorts = false
			c.Runtime.Containerd.DefaultRuntimeName = RuncHandler
			h := c.Runtime.Containerd.Runtimes[RuncHandler]
			h.Options["SystemdCgroup"] = true
			h.Options["NoPivotRoot"] = false
			c.inherit()
		}},
		{file: "kubernetes-docs-v3", want: func(c *Config) {
			c.Runtime.Containerd.Runtimes[RuncHandler].Options["SystemdCgroup"] = true
			c.inherit()
		}},
		{file: "k3s-v2", want: func(c *Config) {
			k3s(c)
			c.Images.Snapshotter = "native"
			c.Images.Registry.Configs = map[string]RegistryConfig{
				"registry.example.com": {Auth: &Auth{Username: "bob", Password: "secret"}},
			}
			c.Runtime.CNI.BinDirs = []string{"/var/lib/rancher/k3s/data/current/bin"}
			c.Runtime.Containerd.Runtimes["nvidia"] = Handler{
				Type: RuncRuntimeType,
				Options: map[string]any{
					"BinaryName":    "/usr/local/nvidia/toolkit/nvidia-container-runtime",
					"SystemdCgroup": true,
				},
				Sandboxer: sandboxerPod,
				IOType:    ioFIFO,
			}
		}},
		{file: "k3s-v3", want: func(c *Config) {
			k3s(c)
			c.Images.UseLocalImagePull = true
			c.Runtime.CNI.BinDirs = []string{"/var/lib/rancher/k3s/data/cni"}
			c.Runtime.Containerd.Runtimes["runhcs-wcow-process"] = Handler{
				Type: "io.containerd.runhcs.v1", Sandboxer: sandboxerPod, IOType: ioFIFO,
			}
		}, pending: []string{"images'.use_local_image_pull: "}},
		{file: "mirrors-v1", want: mirrored},
		{file: "mirrors-v2", want: mirrored},
		{file: "nvidia-v3", want: func(c *Config) {
			c.Runtime.Containerd.DefaultRuntimeName = "nvidia"
			c.Runtime.Containerd.Runtimes[RuncHandler].Options["SystemdCgroup"] = true
			c.inherit()
			c.Runtime.Containerd.Runtimes["nvidia"] = Handler{
				Type:      RuncRuntimeType,
				Options:   map[string]any{"BinaryName": "/usr/bin/nvidia-container-runtime", "SystemdCgroup": true},
				Sandboxer: sandboxerPod,
				IOType:    ioFIFO,
			}
		}},
	} {
		t.Run(test.file, func(t *testing.T) {
			got, unknown := load(t, "testdata/"+test.file+".toml")
			if len(unknown) > 0 {
				t.Errorf("unknown keys: %v", unknown)
			}
			if err := errors.Join(got.Images.Validate(), got.Runtime.Validate(Host{}), got.Server.Validate()); err != nil {
				t.Error(err)
			}
			got.Runtime.Complete()
			want := Config{DefaultImages(), DefaultRuntime(), DefaultServer()}
			want.Runtime.Complete()
			test.want(&want)
			if diff := cmp.Diff(tables(t, want), tables(t, got)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			checkPending(t, slices.Concat(got.Images.Pending(), got.Runtime.Pending()), test.pending)
		})
	}
}

// checkPending expects one line for each of the texts, in this order.
func checkPending(t *testing.T, lines, want []string) {
	t.Helper()
	if len(lines) != len(want) {
		t.Fatalf("pending: %q, want lines with %q", lines, want)
	}
	for i, text := range want {
		if !strings.Contains(lines[i], text) {
			t.Errorf("pending: %q, want a line with %q", lines[i], text)
		}
	}
}

// inherit does what Complete does with lite if a file configures runc.
func (c *Config) inherit() {
	runtimes := c.Runtime.Containerd.Runtimes
	lite := runtimes[RuncHandler]
	lite.Type = LiteRuntimeType
	runtimes[LiteHandler] = lite
}

// k3s applies what the files of k3s have in common.
func k3s(c *Config) {
	c.Server.StreamServerPort = "10010"
	c.Images.PinnedImages["sandbox"] = "rancher/mirrored-pause:3.6"
	c.Images.Registry.ConfigPath = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
	c.Runtime.CNI.ConfDir = "/var/lib/rancher/k3s/agent/etc/cni/net.d"
	c.Runtime.Containerd.Runtimes[RuncHandler].Options["SystemdCgroup"] = true
	c.inherit()
}

// mirrored applies what the files with mirrors have in common.
func mirrored(c *Config) {
	c.Images.Registry.Mirrors = map[string]Mirror{
		"docker.io":      {Endpoints: []string{"https://mirror.example.com", "https://registry-1.docker.io"}},
		"localhost:5000": {Endpoints: []string{"http://registry:5000"}},
		"*":              {Endpoints: []string{"https://mirror.example.com/v2/all"}},
	}
	c.Images.Registry.Configs = map[string]RegistryConfig{
		"mirror.example.com": {Auth: &Auth{Username: "bob", Password: "secret"}},
	}
}

// tables returns a config as in config.toml, where an unset value and an empty one are the same.
func tables(t *testing.T, c Config) map[string]any {
	t.Helper()
	data, err := toml.Marshal(map[string]any{ImagesTable: c.Images, RuntimeTable: c.Runtime, ServerTable: c.Server})
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}
