// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"path/filepath"
)

// Images is the table plugins.'io.containerd.cri.v1.images'.
type Images struct {
	// Snapshotter unpacks images and makes the root file systems of containers, unless a handler
	// names another one.
	Snapshotter string `toml:"snapshotter" json:"snapshotter"`
	// DisableSnapshotAnnotations withholds image and layer references from remote snapshotters
	// (stargz, SOCI, nydus), which fetch layers as containers read them; one whose proxy_plugins
	// table exports enable_remote_snapshot_annotations gets them.
	DisableSnapshotAnnotations bool `toml:"disable_snapshot_annotations" json:"disableSnapshotAnnotations"`
	// DiscardUnpackedLayers lets garbage collection remove a layer's blob once it is unpacked.
	DiscardUnpackedLayers bool `toml:"discard_unpacked_layers" json:"discardUnpackedLayers"`
	// MaxConcurrentDownloads is how many layers of one image are fetched at a time.
	MaxConcurrentDownloads int `toml:"max_concurrent_downloads" json:"maxConcurrentDownloads"`
	// ConcurrentLayerFetchBuffer is the size in bytes of the parts in which one layer is fetched in
	// parallel; 0 fetches it in one piece.
	ConcurrentLayerFetchBuffer int `toml:"concurrent_layer_fetch_buffer" json:"concurrentLayerFetchBuffer"`
	// ImagePullProgressTimeout cancels a pull that got no byte for so long; "0s" never does.
	ImagePullProgressTimeout Duration `toml:"image_pull_progress_timeout" json:"imagePullProgressTimeout"`
	// ImagePullWithSyncFs writes each layer to the disk before it counts as unpacked: a layer of an
	// image that was pulled just before a loss of power is else there afterwards, and may have
	// empty files.
	ImagePullWithSyncFs bool `toml:"image_pull_with_sync_fs" json:"imagePullWithSyncFs"`
	// StatsCollectPeriod is the number of seconds between two looks at the disk usage of snapshots.
	StatsCollectPeriod int `toml:"stats_collect_period" json:"statsCollectPeriod"`
	// UseLocalImagePull has no effect: images are pulled by the transfer service, which does what
	// the client of the built-in CRI does, too.
	UseLocalImagePull bool `toml:"use_local_image_pull" json:"useLocalImagePull"`
	// PinnedImages are never removed by the kubelet's garbage collection; "sandbox" is the pause
	// image of runtimes that want one. The values are full references with domain and tag.
	PinnedImages map[string]string `toml:"pinned_images" json:"pinned_images"`
	// RuntimePlatforms says which platform and snapshotter the images of a handler have.
	RuntimePlatforms map[string]ImagePlatform `toml:"runtime_platforms" json:"runtimePlatforms"`
	// Registry says how registries are reached.
	Registry Registry `toml:"registry" json:"registry"`
	// ImageDecryption says where the keys of encrypted images are.
	ImageDecryption ImageDecryption `toml:"image_decryption" json:"imageDecryption"`
}

// ImagePlatform is one entry of runtime_platforms.
type ImagePlatform struct {
	// Platform is os[/arch[/variant]], which has no effect yet; empty means this machine's.
	Platform string `toml:"platform" json:"platform"`
	// Snapshotter replaces the default snapshotter for the handler's images.
	Snapshotter string `toml:"snapshotter" json:"snapshotter"`
}

// Registry is the table registry of [Images]. The keys that may hold credentials, as headers or in
// an URL, have no JSON form.
type Registry struct {
	// ConfigPath lists directories, separated by colons, with <host>/hosts.toml files; see
	// [Registry.ConfigDirs].
	ConfigPath string `toml:"config_path" json:"configPath"`
	// Headers are sent with every request to any registry.
	Headers map[string][]string `toml:"headers" json:"-"`
	// Mirrors is the old form of hosts.toml: the URLs to ask before a registry, by its host; "*" is
	// any that is not named. With mirrors there is no config_path, and no hosts.toml is read.
	Mirrors map[string]Mirror `toml:"mirrors" json:"-"`
	// Configs is the old place of credentials by host, for pulls without imagePullSecrets.
	Configs map[string]RegistryConfig `toml:"configs" json:"-"`
	// Auths is the oldest place of credentials, by URL.
	Auths map[string]Auth `toml:"auths" json:"-"`
}

// Mirror is one entry of registry.mirrors.
type Mirror struct {
	// Endpoints are the URLs to ask, in this order.
	Endpoints []string `toml:"endpoint" json:"endpoint"`
}

// RegistryConfig is one entry of registry.configs.
type RegistryConfig struct {
	// Auth are the credentials for the host.
	Auth *Auth `toml:"auth"`
}

// Auth are credentials for a registry. They must never be logged.
type Auth struct {
	// Username and Password log in.
	Username string `toml:"username"`
	Password string `toml:"password"`
	// Auth is base64 of username:password.
	Auth string `toml:"auth"`
	// IdentityToken is exchanged for an access token.
	IdentityToken string `toml:"identitytoken"`
}

// ImageDecryption is the table image_decryption of [Images].
type ImageDecryption struct {
	// KeyModel is "node": keys are on this machine; or empty: nothing is decrypted.
	KeyModel string `toml:"key_model" json:"keyModel"`
}

// DefaultImages returns the table as it is when config.toml does not mention it.
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

// Credentials returns those of configs and auths by host; of a host in both, auths counts, as in
// the built-in CRI.
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

// ConfigDirs returns the directories to look for hosts.toml in. Without a config_path these are
// containerd's and Docker's.
func (r Registry) ConfigDirs() []string {
	if r.ConfigPath == "" {
		return []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}
	}
	return filepath.SplitList(r.ConfigPath)
}
