// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// setuid is the mode bit in a tar header: Unix has another value than [fs.ModeSetuid].
const setuid = 0o4000

// libraries are the directories of a Debian package, and of an image, that hold shared libraries.
var libraries = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64"}

// layer collects the files of one image layer. Methods return the layer, so that a recipe is one
// expression. build returns the first error.
type layer struct {
	packages string
	entries  []tar.Header
	content  map[string][]byte
	err      error
}

func (b *builder) files() *layer {
	return &layer{packages: b.packages, content: map[string][]byte{}}
}

// text adds a file with the given content.
func (l *layer) text(name, content string, mode int64) *layer {
	l.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, []byte(content))
	return l
}

// copy adds the host's file source.
func (l *layer) copy(name, source string, mode int64) *layer {
	content, err := os.ReadFile(source)
	if err != nil {
		l.err = errors.Join(l.err, err)
		return l
	}
	return l.text(name, string(content), mode)
}

// link adds a hard link to a file that was added before.
func (l *layer) link(name, target string) *layer {
	l.add(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target[1:], Mode: 0o755}, nil)
	return l
}

func (l *layer) symlink(name, target string) *layer {
	l.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
	return l
}

// dir adds an empty directory.
func (l *layer) dir(name string, mode int64) *layer {
	l.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
	return l
}

// program adds the program at name in the Debian packages, and every library that it loads.
func (l *layer) program(name string) *layer {
	source := filepath.Join(l.packages, name)
	l.copy(name, source, 0o755)
	binary, err := elf.Open(source)
	if err != nil {
		l.err = errors.Join(l.err, err)
		return l
	}
	defer binary.Close()
	needed, err := binary.ImportedLibraries()
	l.err = errors.Join(l.err, err)
	for _, library := range needed {
		l.library(library)
	}
	return l
}

func (l *layer) library(name string) {
	for _, folder := range libraries {
		file := path.Join(folder, name)
		if _, done := l.content[file]; done {
			return
		}
		if _, err := os.Stat(filepath.Join(l.packages, file)); err == nil {
			l.program(file)
			return
		}
	}
	l.err = errors.Join(l.err, fmt.Errorf("no Debian package has the library %s: %w", name, fs.ErrNotExist))
}

func (l *layer) add(header tar.Header, content []byte) {
	header.Name = header.Name[1:]
	l.entries = append(l.entries, header)
	l.content["/"+header.Name] = content
}

// build returns the layer, or nil if it has no files.
func (l *layer) build() (v1.Layer, error) {
	if l.err != nil || len(l.entries) == 0 {
		return nil, l.err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, header := range l.entries {
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(l.content["/"+header.Name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
