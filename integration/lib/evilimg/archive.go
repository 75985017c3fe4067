// SPDX-License-Identifier: Apache-2.0

package evilimg

import (
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout returns an image as an archive for `ctr images import`. name is the image name in the
// archive. more are additional entries of the archive.
func Layout(name string, img Image, more ...Entry) []byte {
	var entries []Entry
	seen := map[string]bool{}
	manifest, _ := img.Build(func(desc ocispec.Descriptor, content []byte) {
		file := "blobs/" + desc.Digest.Algorithm().String() + "/" + desc.Digest.Encoded()
		if !seen[file] {
			entries = append(entries, File(file, string(content), 0o644))
		}
		seen[file] = true
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": name, ocispec.AnnotationRefName: name}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{manifest},
	}
	entries = append(entries,
		File(ocispec.ImageLayoutFile, `{"imageLayoutVersion":"1.0.0"}`, 0o644),
		File(ocispec.ImageIndexFile, string(Document(index)), 0o644))
	return Tar(append(entries, more...)...)
}

// Checkpoint returns an archive like that of CheckpointContainer of the built-in CRI, with the
// files that a restore reads.
func Checkpoint(config, spec any, more ...Entry) []byte {
	entries := []Entry{
		File("config.dump", string(Document(config)), 0o600),
		File("spec.dump", string(Document(spec)), 0o600),
		File("status.dump", "{}", 0o600),
		File("stats-dump", "", 0o600),
		Dir("checkpoint", 0o700),
	}
	return Tar(append(entries, more...)...)
}
