// SPDX-License-Identifier: Apache-2.0

package evilimg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entry is an entry of a tar archive.
type Entry struct {
	tar.Header
	Content []byte
}

// File returns a regular file.
func File(name, content string, mode int64) Entry {
	return Entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, []byte(content)}
}

// Dir returns a directory.
func Dir(name string, mode int64) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}}
}

// Symlink returns a symbolic link.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// Hardlink returns a hard link.
func Hardlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o777}}
}

// FIFO returns a named pipe.
func FIFO(name string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: name, Mode: 0o666}}
}

// CharDevice returns a character device.
func CharDevice(name string, major, minor int64) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}}
}

// Tar returns an archive of the entries. It panics if package tar cannot write an entry: that is an
// error in the test.
func Tar(entries ...Entry) []byte {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(fmt.Sprintf("tar entry %s: %v", e.Name, err))
		}
		if _, err := w.Write(e.Content); err != nil {
			panic(fmt.Sprintf("tar entry %s: %v", e.Name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return archive.Bytes()
}

// Gzip compresses content.
func Gzip(content []byte) []byte {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	// Writes to a buffer do not fail.
	_, _ = w.Write(content)
	_ = w.Close()
	return compressed.Bytes()
}

// Layer is a layer as a registry serves it.
type Layer struct {
	MediaType   string
	Blob        []byte        // compressed
	DiffID      digest.Digest // of the unpacked Blob
	Annotations map[string]string
	URLs        []string
	// Edit changes the finished descriptor in the manifest.
	Edit func(*ocispec.Descriptor)
}

// Files returns a layer of entries.
func Files(entries ...Entry) Layer { return Archive(Tar(entries...)) }

// Archive returns a layer with a tar archive.
func Archive(archive []byte) Layer {
	return Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Blob: Gzip(archive), DiffID: digest.FromBytes(archive)}
}

// Of returns the layers of an image built by another tool.
func Of(img v1.Image) ([]Layer, error) {
	all, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var layers []Layer
	for _, l := range all {
		compressed, err := l.Compressed()
		if err != nil {
			return nil, err
		}
		blob, err := io.ReadAll(compressed)
		if err != nil {
			return nil, err
		}
		diff, err := l.DiffID()
		if err != nil {
			return nil, err
		}
		layers = append(layers, Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Blob: blob, DiffID: digest.Digest(diff.String())})
	}
	return layers, nil
}

func (l Layer) descriptor() ocispec.Descriptor {
	desc := ocispec.Descriptor{
		MediaType: l.MediaType, Digest: digest.FromBytes(l.Blob), Size: int64(len(l.Blob)),
		Annotations: l.Annotations, URLs: l.URLs,
	}
	if l.Edit != nil {
		l.Edit(&desc)
	}
	return desc
}
