// SPDX-License-Identifier: Apache-2.0

package evilimg

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image in parts.
type Image struct {
	Config ocispec.ImageConfig
	// RawConfig replaces the config document that is made from Config.
	RawConfig   []byte
	Layers      []Layer
	Annotations map[string]string // of the manifest
	// Edit changes the finished manifest.
	Edit func(*ocispec.Manifest)
}

// Store stores a document or a blob.
type Store func(desc Desc, content []byte)

// Build passes the parts of the image to put, the manifest last, and returns the manifest.
func (i Image) Build(put Store) (ocispec.Descriptor, []byte) {
	config := i.RawConfig
	if config == nil {
		config = Document(i.config())
	}
	manifest := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      Descriptor(ocispec.MediaTypeImageConfig, config),
		Annotations: i.Annotations,
	}
	put(manifest.Config, config)
	for _, l := range i.Layers {
		desc := l.descriptor()
		put(desc, l.Blob)
		manifest.Layers = append(manifest.Layers, desc)
	}
	if i.Edit != nil {
		i.Edit(&manifest)
	}
	content := Document(manifest)
	desc := Descriptor(manifest.MediaType, content)
	put(desc, content)
	return desc, content
}

func (i Image) config() ocispec.Image {
	image := ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		Config:   i.Config,
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
	for _, l := range i.Layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.DiffID)
	}
	return image
}

// Document marshals a document. It panics if v cannot be marshaled: that is an error in the test.
func Document(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("document: %v", err))
	}
	return content
}

// Descriptor returns the correct descriptor of content.
func Descriptor(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// Desc is short for ocispec.Descriptor.
type Desc = ocispec.Descriptor
