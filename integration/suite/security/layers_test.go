// SPDX-License-Identifier: Apache-2.0

package security

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
)

// Attacks through the layers of images. Unpacking them must not touch anything of the host, and
// must end.

// outside returns a path that leads from any directory of a layer to a path of the host.
func outside(path string) string { return strings.Repeat("../", 30) + path[1:] }

// c04 unpacks layers whose links lead to the canary, with files, modes and hard links on top.
func c04(a *attack) {
	victim := a.host.Path("file")
	for _, target := range []string{a.host.Path(), outside(a.host.Path())} {
		for name, second := range map[string][]evilimg.Entry{
			"file through a link":      {evilimg.File("x/file", "overwritten", 0o777)},
			"mode through a link":      {evilimg.Dir("x", 0o777), evilimg.Dir("x/dir", 0o777)},
			"hard link through a link": {evilimg.Hardlink("y", "x/file"), evilimg.File("y", "overwritten", 0o777)},
			"hard link by a path":      {evilimg.Hardlink("y", victim), evilimg.Hardlink("z", outside(victim))},
			"file by a path":           {evilimg.File(outside(victim), "overwritten", 0o777), evilimg.File("/"+victim, "overwritten", 0o777)},
			"whiteout through a link":  {evilimg.File("x/.wh.file", "", 0o644), evilimg.File("x/dir/.wh..wh..opq", "", 0o644)},
			"device over a link":       {evilimg.CharDevice("x", 1, 5), evilimg.FIFO("x/file")},
		} {
			img := a.with(evilimg.Symlink("x", target))
			img.Layers = append(img.Layers, evilimg.Files(second...))
			// It may be refused, or unpacked within the root of the layer.
			a.Logf("%s: %v", name, a.Pull(a.ctx, a.serve(img)))
		}
	}
}

// c19 concurrently pulls images whose layers swap a directory and a link.
func c19(a *attack) {
	var group errgroup.Group
	for i := range 8 {
		img := a.with(evilimg.Dir("swap", 0o755), evilimg.File("swap/first", fmt.Sprint(i), 0o644))
		for j := range 6 {
			entry := evilimg.Symlink("swap", outside(a.host.Path()))
			if j%2 == 1 {
				entry = evilimg.Dir("swap", 0o777)
			}
			img.Layers = append(img.Layers, evilimg.Files(
				entry, evilimg.File("swap/file", fmt.Sprint("overwritten ", i, j), 0o777), evilimg.Dir("swap/dir", 0o777)))
		}
		ref := a.serve(img)
		group.Go(func() error {
			_ = a.Pull(a.ctx, ref) // either result is accepted; the canary must not change
			return nil
		})
	}
	_ = group.Wait()
}

// c27 has an image set the owners of its layer by annotations, and checks an unmodified image with
// the same layer.
func c27(a *attack) {
	shared := evilimg.Files(evilimg.File("owned", "x", 0o644))
	mappings := map[string]string{
		"containerd.io/snapshot/uidmapping": "0:4242:65536", "containerd.io/snapshot/gidmapping": "0:4242:65536",
	}
	evil := a.with()
	layer := shared
	layer.Annotations = mappings
	evil.Layers = append(evil.Layers, layer)
	evil.Annotations = mappings
	evil.Config.Labels = mappings
	clean := a.with()
	clean.Layers = append(clean.Layers, shared)
	for _, img := range []evilimg.Image{evil, clean} {
		ref := a.serve(img)
		if err := a.Pull(a.ctx, ref); err != nil {
			a.Fatal(err)
		}
		p := a.pod(quick)
		if got := p.output(p.container(ref, "stat -c %u:%g /owned")); got != "0:0\n" {
			a.Errorf("the file of the layer belongs to %q, in the archive to 0:0", got)
		}
	}
}

// c28 unpacks a layer of alternating files and opaque whiteouts, which must not take quadratic
// time.
func c28(a *attack) {
	const pairs = 30000
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range pairs {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("d/f%d", i), Mode: 0o644})
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "d/.wh..wh..opq", Mode: 0o644})
	}
	w.Close()
	img := a.with()
	img.Layers = append(img.Layers, evilimg.Archive(archive.Bytes()))
	if err := a.Pull(a.ctx, a.serve(img)); err != nil {
		a.Errorf("%d whiteouts: %v", pairs, err)
	}
}

// o14 unpacks a sparse file whose map claims a very large number of entries.
func o14(a *attack) {
	// The map of a sparse file in PAX 1.0 begins with the number of its entries.
	body := "2147483647\n" + strings.Repeat("0\n0\n", 100)
	records := paxRecord("GNU.sparse.major", "1") + paxRecord("GNU.sparse.minor", "0") +
		paxRecord("GNU.sparse.name", "sparse") + paxRecord("GNU.sparse.realsize", "99999")
	archive := append(rawHeader("x", 'x', int64(len(records))), pad(records)...)
	archive = append(archive, rawHeader("sparse", '0', int64(len(body)))...)
	archive = append(append(archive, pad(body)...), make([]byte, 1024)...)
	img := a.with()
	img.Layers = append(img.Layers, evilimg.Archive(archive))
	a.growth(64, func() { a.refused("map of holes", a.Pull(a.ctx, a.serve(img))) })
}

// paxRecord returns a PAX record, which begins with its own length.
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	return fmt.Sprint(len(rest)+2) + rest // the length has two digits for all records here
}

// rawHeader returns the header of a tar entry that package tar cannot write.
func rawHeader(name string, kind byte, size int64) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00        ", size, 0))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// pad fills a body up to whole tar blocks.
func pad(body string) []byte {
	return append([]byte(body), make([]byte, (512-len(body)%512)%512)...)
}

// hole returns a file in old GNU format that consists of one hole.
func hole(name string, size int64) []byte {
	h := rawHeader(name, 'S', 0)
	copy(h[257:], "ustar  \x00")
	for i := range 8 + 24 { // the map: an empty entry at the end
		h[386+i] = 0
	}
	copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", size, 0))
	copy(h[483:], fmt.Sprintf("%011o\x00", size))
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// o16 serves corrupt compressed layers, and a valid one afterwards.
func o16(a *attack) {
	archive := evilimg.Tar(evilimg.File("file", strings.Repeat("content ", 10000), 0o644))
	good := evilimg.Gzip(archive)
	const zstd = ocispec.MediaTypeImageLayerZstd
	for name, layer := range map[string]evilimg.Layer{
		"truncated gzip":   {MediaType: ocispec.MediaTypeImageLayerGzip, Blob: good[:len(good)/2]},
		"garbage gzip":     {MediaType: ocispec.MediaTypeImageLayerGzip, Blob: append([]byte{0x1f, 0x8b, 8}, bytes.Repeat([]byte{0xa5}, 5000)...)},
		"garbage zstd":     {MediaType: zstd, Blob: append([]byte{0x28, 0xb5, 0x2f, 0xfd}, bytes.Repeat([]byte{0xa5}, 5000)...)},
		"window of zstd":   {MediaType: zstd, Blob: append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8}, make([]byte, 100)...)},
		"garbage xz":       {MediaType: ocispec.MediaTypeImageLayerGzip, Blob: append([]byte("\xfd7zXZ\x00"), bytes.Repeat([]byte{0xa5}, 5000)...)},
		"compressed twice": {MediaType: ocispec.MediaTypeImageLayerGzip, Blob: evilimg.Gzip(good)},
		"no bytes":         {MediaType: ocispec.MediaTypeImageLayerGzip, Blob: nil},
		"other content":    {MediaType: ocispec.MediaTypeImageLayerGzip, Blob: evilimg.Gzip(append(archive, make([]byte, 512)...))},
	} {
		layer.DiffID = digest.FromBytes(archive)
		img := a.with()
		img.Layers = append(img.Layers, layer)
		a.refused(name, a.Pull(a.ctx, a.serve(img)))
	}
	img := a.with()
	img.Layers = append(img.Layers, evilimg.Layer{
		MediaType: ocispec.MediaTypeImageLayerGzip, Blob: append(good, "more"...), DiffID: digest.FromBytes(archive),
	})
	a.Logf("data behind the end: %v", a.Pull(a.ctx, a.serve(img)))
	a.image(a.with(evilimg.File("good", "good", 0o644)))
}

// m08 serves images that are much larger than they look, or inconsistent.
func m08(a *attack) {
	less := a.with()
	less.RawConfig = evilimg.Document(ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"},
	})
	a.refused("layers without diff ids", a.Pull(a.ctx, a.serve(less)))

	large := a.with()
	large.RawConfig = append(evilimg.Document(struct{ OS, Comment string }{"linux", strings.Repeat(" ", 100<<20)}), ' ')
	a.growth(96, func() { a.refused("config of 100 MiB", a.Pull(a.ctx, a.serve(large))) })

	deep := []evilimg.Entry{evilimg.Dir(strings.Repeat("d/", 400)+"d", 0o755), evilimg.File(strings.Repeat("n", 4000), "", 0o644)}
	a.Logf("deep directories and a long name: %v", a.Pull(a.ctx, a.serve(a.with(deep...))))

	hollow := a.with()
	hollow.Layers = append(hollow.Layers, evilimg.Archive(append(hole("hole", 1<<32), make([]byte, 1024)...)))
	a.growth(96, func() { a.Logf("a hole of 4 GiB: %v", a.Pull(a.ctx, a.serve(hollow))) })
}

// m08Layers serves an image with more layers than overlayfs can mount.
func m08Layers(a *attack) {
	many := a.with()
	empty := evilimg.Files()
	for range 1000 {
		many.Layers = append(many.Layers, empty)
	}
	a.refused("1000 layers", a.Pull(a.ctx, a.serve(many)))
}

// c18 has an /etc/passwd and /etc/group that are too large or no regular files, and users that only
// such a file defines.
func c18(a *attack) { a.userFiles(quick) }

// o19 is c18 in a user namespace.
func o19(a *attack) { a.userFiles(inUserNamespace) }

// inUserNamespace maps the pod to host IDs that are unused.
func inUserNamespace(c *podConfig) {
	mapping := []*runtimeapi.IDMapping{{HostId: 1 << 20, ContainerId: 0, Length: 65536}}
	c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{
		Mode: runtimeapi.NamespaceMode_POD, Uids: mapping, Gids: mapping,
	}
}

func (a *attack) userFiles(change func(*podConfig)) {
	secret := a.host.Path("passwd")
	line := "g:x:7:" + strings.Repeat("someone,", 1<<20) + "intruder\n"
	for _, file := range []string{"etc/passwd", "etc/group"} {
		for name, layer := range map[string]evilimg.Layer{
			"fifo":           evilimg.Files(evilimg.FIFO(file)),
			"device":         evilimg.Files(evilimg.CharDevice(file, 1, 5)),
			"directory":      evilimg.Files(evilimg.Dir(file, 0o755)),
			"link to host":   evilimg.Files(evilimg.Symlink(file, secret)),
			"link far out":   evilimg.Files(evilimg.Symlink(file, outside(secret))),
			"link to itself": evilimg.Files(evilimg.Symlink(file, "/"+file)),
			"endless line":   evilimg.Files(evilimg.File(file, line, 0o644)),
			"16 MiB":         evilimg.Files(evilimg.File(file, strings.Repeat("\n", 16<<20), 0o644)),
		} {
			img := a.with()
			img.Layers = append(img.Layers, layer)
			ref := a.image(img)
			p := a.pod(change)
			a.growth(64, func() {
				_, err := p.create(p.container(ref, "true", func(c *containerConfig) {
					c.Linux.SecurityContext.RunAsUsername = "intruder"
				}))
				a.refused(file+" is a "+name, err)
			})
		}
	}
}
