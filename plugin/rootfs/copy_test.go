// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tree describes all files below a directory by path, with each property that a copy must preserve.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, names := make(map[string]string), make(map[uint64]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%v %d:%d", info.Mode(), stat.Uid, stat.Gid)
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %v size %d: %.20q", info.ModTime(), len(content), strings.Trim(string(content), "\x00"))
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " to " + target
		default:
			text += fmt.Sprintf(" %v device %x", info.ModTime(), stat.Rdev)
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if first, ok := names[stat.Ino]; ok {
			text += " same as " + first
		}
		names[stat.Ino] = relative
		files[relative] = text + attributesOf(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func attributesOf(t *testing.T, path string) (text string) {
	t.Helper()
	list, value := make([]byte, maxXattr), make([]byte, maxXattr)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split(string(list[:n]), "\x00") {
		if key == "" || key == selinuxLabel {
			continue
		}
		n, err := unix.Lgetxattr(path, key, value)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf(" %s=%q", key, value[:n])
	}
	return text
}

// must fails the test if a step returned an error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestCopyKeeps(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	root := files(t, map[string]string{
		"v/text":           "content",
		"v/empty":          "",
		"v/read-only/file": "in a directory that cannot be written to",
		"v/a/b/c/file":     "deep",
		"v/to-file":        "-> text",
		"v/to-nothing":     "-> nothing",
		"v/to-host":        "-> /etc/passwd",
		"v/to-parent":      "-> ..",
		"v/ odd\nname \\":  "odd",
		"v/-> ":            "-> -",
	})
	at := func(name string) string { return filepath.Join(root, "v", name) }
	past := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	must(t,
		os.Link(at("text"), at("a/hard-link")),
		os.Link(at("text"), at("a/b/hard-link")),
		os.Link(at("to-file"), at("a/hard-link-to-symlink")),
		unix.Mkfifo(at("fifo"), 0o622),
		os.Link(at("fifo"), at("a/fifo")),
		unix.Mknod(at("socket"), unix.S_IFSOCK|0o700, 0),
		os.Chmod(at("text"), 0o640|fs.ModeSetuid|fs.ModeSetgid),
		os.Chmod(at("a"), 0o777|fs.ModeSticky),
		os.Chmod(at("a/b"), 0o750|fs.ModeSetgid),
		os.Chmod(at("read-only"), 0o555),
		os.Chmod(root+"/v", 0o711),
	)
	for _, name := range []string{"text", "fifo", "a/b", "a", "read-only", ""} {
		must(t, os.Chtimes(at(name), time.Time{}, past))
	}
	dir, err := copyOne(t, root, "/v")
	must(t, err)
	if diff := cmp.Diff(tree(t, root+"/v"), tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	// Without the write bit, only root could remove the directories.
	must(t, os.Chmod(at("read-only"), 0o755), os.Chmod(filepath.Join(dir, "read-only"), 0o755))
}

// TestCopyKeepsAsRoot covers properties that need root: owners, capabilities, device nodes.
func TestCopyKeepsAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes the owner of files and creates device nodes")
	}
	root := files(t, map[string]string{"v/setuid": "x", "v/capable": "x", "v/link": "-> setuid", "v/dir/file": "x"})
	at := func(name string) string { return filepath.Join(root, "v", name) }
	for i, name := range []string{"setuid", "capable", "link", "dir", "dir/file", ""} {
		must(t, os.Lchown(at(name), 1000+i, 2000+i))
	}
	capability := binary.LittleEndian.AppendUint32(nil, 0x02000001) // VFS_CAP_REVISION_2, effective
	capability = append(capability, make([]byte, 16)...)
	capability[4] = 1 << 5 // CAP_KILL
	must(t,
		os.Chmod(at("setuid"), 0o755|fs.ModeSetuid|fs.ModeSetgid),
		unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(at("disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))),
		os.Lchown(at("null"), 7, 8),
	)
	if err := unix.Lsetxattr(at("capable"), "security.capability", capability, 0); err != nil {
		t.Skipf("needs a filesystem and the capability for file capabilities: %v", err)
	}
	dir, err := copyOne(t, root, "/v")
	must(t, err)
	if diff := cmp.Diff(tree(t, root+"/v"), tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestCopyKeepsXattrs(t *testing.T) {
	root := files(t, map[string]string{"v/file": "x", "v/dir/file": "x"})
	for _, name := range []string{"v/file", "v/dir", "v"} {
		path := filepath.Join(root, name)
		err := errors.Join(
			unix.Lsetxattr(path, "user.text", []byte(name), 0),
			unix.Lsetxattr(path, "user.empty", nil, 0),
			unix.Lsetxattr(path, "user.bytes", []byte{0, 1, 255, 0}, 0),
		)
		if errors.Is(err, unix.ENOTSUP) {
			t.Skip("needs extended attributes in the temporary directory")
		}
		must(t, err)
	}
	must(t, os.Chmod(filepath.Join(root, "v/file"), 0o400))
	dir, err := copyOne(t, root, "/v")
	must(t, err)
	if diff := cmp.Diff(tree(t, root+"/v"), tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A hole takes no space in an image. If the copy filled it, it would take space on the host's disk.
func TestCopyKeepsHoles(t *testing.T) {
	root := files(t, map[string]string{"v/hole": "", "v/holes": "start"})
	must(t, os.Truncate(filepath.Join(root, "v/hole"), 1<<30))
	f, err := os.OpenFile(filepath.Join(root, "v/holes"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("middle"), 32<<20)
	must(t, err, f.Truncate(64<<20), f.Close())
	if blocks(t, f.Name()) > 1<<20 {
		t.Skip("needs a filesystem with sparse files for temporary files")
	}
	dir, err := copyOne(t, root, "/v")
	must(t, err)
	for name, size := range map[string]int64{"hole": 1 << 30, "holes": 64 << 20} {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		must(t, err)
		if info.Size() != size || blocks(t, path) > 1<<20 {
			t.Errorf("%s: size %d with %d bytes on disk, want size %d and hardly any", name, info.Size(), blocks(t, path), size)
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, "holes"))
	must(t, err)
	if got := strings.Trim(string(content), "\x00"); !strings.HasPrefix(got, "start") || !strings.HasSuffix(got, "middle") || content[32<<20] != 'm' {
		t.Errorf("content is %.40q...", got)
	}
}

// blocks returns the disk usage of a file in bytes.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return sysStat(info).Blocks * 512
}

func TestCopyManyEntries(t *testing.T) {
	root := files(t, map[string]string{"v/0": ""})
	for i := range 2*batch + 1 {
		must(t, os.WriteFile(filepath.Join(root, "v", fmt.Sprint(i)), []byte(fmt.Sprint(i)), 0o600))
	}
	dir, err := copyOne(t, root, "/v")
	must(t, err)
	if diff := cmp.Diff(tree(t, root+"/v"), tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// The root filesystem of a container is usually an overlay, with files from several layers.
func TestCopyFromOverlay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts an overlay")
	}
	lower := files(t, map[string]string{"v/gone": "x", "v/kept": "lower", "v/dir/old": "x", "v/changed": "lower"})
	upper := files(t, map[string]string{"v/changed": "upper", "v/dir/new": "upper"})
	must(t,
		os.Link(lower+"/v/kept", lower+"/v/hard-link"),
		unix.Mknod(upper+"/v/gone", unix.S_IFCHR, 0),
		unix.Lsetxattr(upper+"/v/dir", "trusted.overlay.opaque", []byte("y"), 0),
	)
	overlay := []mount.Mount{{
		Type: "overlay", Source: "overlay",
		Options: []string{"lowerdir=" + lower, "upperdir=" + upper, "workdir=" + t.TempDir()},
	}}
	var dir string
	var want map[string]string
	err := mount.WithTempMount(t.Context(), overlay, func(root string) (err error) {
		want = tree(t, root+"/v")
		dir, err = copyOne(t, root, "/v")
		return err
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		t.Skipf("needs a kernel and filesystem for overlays: %v", err)
	}
	must(t, err)
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	entries, err := filepath.Glob(dir + "/*")
	must(t, err)
	if len(entries) != 4 { // changed, dir, hard-link, kept
		t.Errorf("entries %v", entries)
	}
	if _, err := os.Lstat(dir + "/dir/old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dir/old: error %v, want no lower files in an opaque directory", err)
	}
}
