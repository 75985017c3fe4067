// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"path/filepath"
)

// Images is the table plugins.'io.containerd.cri.v1.images'.
type Images struct {
	// Snapshotter unpacks images and creates the root file systems of containers, unless a handler
	// has its own snapshotter.
	Snapshotter string `toml:"snapshotter" json:"snapshotter"`
	// DisableSnapshotAnnotations passes no image and layer references to remote snapshotters
	// (stargz, SOCI, nydus), which fetch layers when containers read them. A snapshotter whose
	// proxy_plugins table exports enable_remote_snapshot_annotations gets the references all the
	// same.
	DisableSnapshotAnnotations bool `toml:"disable_snapshot_annotations" json:"disableSnapshotAnnotations"`
	// DiscardUnpackedLayers permits garbage collection to remove a layer's blob once the layer is
	// unpacked.
	DiscardUnpackedLayers bool `toml:"discard_unpacked_layers" json:"discardUnpackedLayers"`
	// MaxConcurrentDownloads is the number of downloads at a time, of layers or parts of layers, in
	// all pulls together; 0 uses the setting of the transfer service.
	MaxConcurrentDownloads int `toml:"max_concurrent_downloads" json:"maxConcurrentDownloads"`
	// ConcurrentLayerFetchBuffer is the size in bytes of the parts of a layer that are downloaded
	// in parallel; 0 uses the setting of the transfer service.
	ConcurrentLayerFetchBuffer int `toml:"concurrent_layer_fetch_buffer" json:"concurrentLayerFetchBuffer"`
	// ImagePullProgressTimeout cancels a pull that has received no data for this time; "0s" never
	// cancels.
	ImagePullProgressTimeout Duration `toml:"image_pull_progress_timeout" json:"imagePullProgressTimeout"`
	// ImagePullWithSyncFs writes each layer to the disk before the layer counts as unpacked.
	// Without it, a layer that was pulled just before a power failure may exist afterwards with
	// empty files.
	ImagePullWithSyncFs bool `toml:"image_pull_with_sync_fs" json:"imagePullWithSyncFs"`
	// StatsCollectPeriod is the interval, in seconds, at which the disk usage of snapshots is
	// measured.
	StatsCollectPeriod int `toml:"stats_collect_period" json:"statsCollectPeriod"`
	// UseLocalImagePull has no effect: images are pulled by the transfer service, which has the
	// features of the built-in CRI's client, too.
	UseLocalImagePull bool `toml:"use_local_image_pull" json:"useLocalImagePull"`
	// PinnedImages are images that the kubelet's garbage collection never removes, as full
	// references with domain and tag. "sandbox" is the pause image, for runtimes that need one.
	PinnedImages map[string]string `toml:"pinned_images" json:"pinned_images"`
	// RuntimePlatforms are the platform and snapshotter of images, by handler.
	RuntimePlatforms map[string]ImagePlatform `toml:"runtime_platforms" json:"runtimePlatforms"`
	// Registry is the table of the access to registries.
	Registry Registry `toml:"registry" json:"registry"`
	// ImageDecryption is the table of the keys of encrypted images.
	ImageDecryption ImageDecryption `toml:"image_decryption" json:"imageDecryption"`
}

// ImagePlatform is one entry of runtime_platforms.
type ImagePlatform struct {
	// Platform is os[/arch[/variant]]; empty means the node's platform. Other values have no effect
	// yet.
	Platform string `toml:"platform" json:"platform"`
	// Snapshotter replaces the default snapshotter for the handler's images.
	Snapshotter string `toml:"snapshotter" json:"snapshotter"`
}

// Registry is the table registry of [Images]. Keys that may hold credentials, in headers or in a
// URL, have no JSON form.
type Registry struct {
	// ConfigPath lists directories, separated by colons, with <host>/hosts.toml files; see
	// [Registry.ConfigDirs].
	ConfigPath string `toml:"config_path" json:"configPath"`
	// Headers are sent with every request to any registry.
	Headers map[string][]string `toml:"headers" json:"-"`
	// Mirrors is the old form of hosts.toml: URLs to try before a registry, by the registry's host.
	// "*" applies to hosts that are not listed. If mirrors are set, config_path must be empty and
	// no hosts.toml is read.
	Mirrors map[string]Mirror `toml:"mirrors" json:"-"`
	// Configs is the old place of credentials by host, for pulls without imagePullSecrets.
	Configs map[string]RegistryConfig `toml:"configs" json:"-"`
	// Auths is the oldest place of credentials, by URL.
	Auths map[string]Auth `toml:"auths" json:"-"`
}

// Mirror is one entry of registry.mirrors.
type Mirror struct {
	// Endpoints are the URLs to try, in this order.
	Endpoints []string `toml:"endpoint" json:"endpoint"`
}

// RegistryConfig is one entry of registry.configs.
type RegistryConfig struct {
	// Auth are the credentials for the host.
	Auth *Auth `toml:"auth"`
}

// Auth are credentials for a registry. They must never be logged.
type Auth struct {
	// Username and Password are the login.
	Username string `toml:"username"`
	Password string `toml:"password"`
	// Auth is username:password in base64.
	Auth string `toml:"auth"`
	// IdentityToken is exchanged for an access token.
	IdentityToken string `toml:"identitytoken"`
}

// ImageDecryption is the table image_decryption of [Images].
type ImageDecryption struct {
	// KeyModel is "node" if the keys are on this node. If it is empty, images are not decrypted.
	KeyModel string `toml:"key_model" json:"keyModel"`
}

// DefaultImages returns the table with its defaults.
func DefaultImages() Images {
	return Images{
		Snapshotter:                "overlayfs",
		DisableSnapshotAnnotations: true,
		MaxConcurrentDownloads:     3,
		ImagePullProgressTimeout:   "5m0s",
		StatsCollectPeriod:         10,
		PinnedImages:               map[string]string{"sandbox": "registry.k8s.io/pause:3.10.2"},
		ImageDecryption:            ImageDecryption{KeyModel: "node"},
	}
}

// Credentials returns the credentials of configs and auths by host. If a host is in both, auths
// wins, as in the built-in CRI.
func (r Registry) Credentials() map[string]Auth {
	found := map[string]Auth{}
	for host, c := range r.Configs {
		if c.Auth != nil {
			found[host] = *c.Auth
		}
	}
	for endpoint, auth := range r.Auths {
		if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
			endpoint = u.Host
		}
		found[endpoint] = auth
	}
	return found
}

// MirrorEndpoints returns the URLs of the mirrors by registry.
func (r Registry) MirrorEndpoints() map[string][]string {
	endpoints := make(map[string][]string, len(r.Mirrors))
	for host, mirror := range r.Mirrors {
		endpoints[host] = mirror.Endpoints
	}
	return endpoints
}

// ConfigDirs returns the directories that are searched for hosts.toml. Without a config_path these
// are containerd's and Docker's.
func (r Registry) ConfigDirs() []string {
	if r.ConfigPath == "" {
		return []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}
	}
	return filepath.SplitList(r.ConfigPath)
}
