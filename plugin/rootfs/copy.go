// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth bounds the open files of a copy, which has three for each level.
	maxDepth = 300
	// batch is the number of directory entries that are read at once.
	batch = 256
	// chunk is the number of bytes that are copied between two checks of the context.
	chunk = 16 << 20
	// maxXattr is the kernel's limit for the value of an extended attribute and for the list of
	// names.
	maxXattr = 64 << 10
	// selinuxLabel is not copied, because the container may have another label than the image.
	selinuxLabel = "security.selinux"
)

// copier copies a directory tree.
//
// continuity's fs.CopyDir copies trees, too. But it cannot be cancelled, syncs each file, uses
// plain paths, and sets the time of a directory before it adds files to it.
type copier struct {
	// top is the root of the copy. links has, for each file with several names, the path of its
	// first copy.
	top          *os.Root
	links        map[inode]string
	names, value []byte // buffers for extended attributes
}

type inode struct{ dev, ino uint64 }

// place is one directory of the tree and its copy, which have the same path. Each directory has its
// own root, so the cost of opening a file does not depend on its depth.
type place struct {
	dst, src *os.Root
	path     string
	depth    int
}

// copyTree copies the contents of src, and the attributes of src itself, into the empty directory
// dst.
func copyTree(ctx context.Context, dst, src *os.Root) error {
	c := copier{top: dst, links: make(map[inode]string), names: make([]byte, maxXattr), value: make([]byte, maxXattr)}
	return c.dir(ctx, place{dst: dst, src: src, path: "."})
}

// dir copies the contents of a directory, and then its attributes: its mode or default ACL could
// prevent the copy, and the copy changes its modification time.
func (c *copier) dir(ctx context.Context, at place) error {
	in, err := at.src.Open(".")
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		entries, err := in.ReadDir(batch)
		for _, e := range entries {
			if err := c.entry(ctx, at, e.Name()); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%.200s: %w", at.path, err)
		}
	}
	out, err := at.dst.Open(".")
	if err != nil {
		return err
	}
	defer out.Close()
	if err := c.attributes(at, ".", out, in); err != nil {
		return fmt.Errorf("%.200s: %w", at.path, err)
	}
	return nil
}

func (c *copier) entry(ctx context.Context, at place, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := at.src.Lstat(name)
	switch {
	case err != nil:
	case info.IsDir():
		return c.subdir(ctx, at, name)
	default:
		err = c.file(ctx, at, name, info)
	}
	if err != nil {
		return fmt.Errorf("%.200s: %w", path.Join(at.path, name), err)
	}
	return nil
}

func (c *copier) subdir(ctx context.Context, at place, name string) error {
	below := place{path: path.Join(at.path, name), depth: at.depth + 1}
	if below.depth > maxDepth {
		return broken("%.200s...: is more than %d directories deep", below.path, maxDepth)
	}
	err := at.dst.Mkdir(name, 0o700)
	if err != nil {
		return fmt.Errorf("%.200s: %w", at.path, err)
	}
	if below.dst, err = at.dst.OpenRoot(name); err != nil {
		return fmt.Errorf("%.200s: %w", at.path, err)
	}
	defer below.dst.Close()
	if below.src, err = at.src.OpenRoot(name); err != nil {
		return fmt.Errorf("%.200s: %w", at.path, err)
	}
	defer below.src.Close()
	return c.dir(ctx, below)
}

// file copies a file that is not a directory. If another name of it was copied before, the copy is
// a hard link.
func (c *copier) file(ctx context.Context, at place, name string, info fs.FileInfo) error {
	if stat := sysStat(info); stat.Nlink > 1 {
		id := inode{stat.Dev, stat.Ino}
		full := path.Join(at.path, name)
		if first, ok := c.links[id]; ok {
			return c.top.Link(first, full)
		}
		c.links[id] = full
	}
	switch info.Mode().Type() {
	case 0:
		return c.regular(ctx, at, name)
	case fs.ModeSymlink:
		return copySymlink(at, name, info)
	default:
		return copyNode(at, name, info)
	}
}

func (c *copier) regular(ctx context.Context, at place, name string) (err error) {
	in, err := at.src.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := at.dst.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := copyData(ctx, out, in); err != nil {
		return err
	}
	return c.attributes(at, name, out, in)
}

// copyData copies a file without its holes. Otherwise a small image could fill the disk.
func copyData(ctx context.Context, out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for end := int64(0); ; {
		start, err := in.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // the rest is a hole
		}
		if err != nil {
			return err
		}
		if end, err = in.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := copyRange(ctx, out, in, start, end); err != nil {
			return err
		}
	}
}

func copyRange(ctx context.Context, out, in *os.File, start, end int64) error {
	if _, err := in.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(start, io.SeekStart); err != nil {
		return err
	}
	for start < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(out, in, min(chunk, end-start))
		if err != nil {
			return err
		}
		start += n
	}
	return nil
}

func copySymlink(at place, name string, info fs.FileInfo) error {
	target, err := at.src.Readlink(name)
	if err != nil {
		return err
	}
	if err := at.dst.Symlink(target, name); err != nil {
		return err
	}
	stat := sysStat(info)
	return at.dst.Lchown(name, int(stat.Uid), int(stat.Gid))
}

// copyNode copies a FIFO, a socket or a device. The device cgroup decides whether the container may
// open a device, as for other devices of the image. unix.Fchmodat is used because [os.Root.Chmod]
// needs Linux 6.6.
func copyNode(at place, name string, info fs.FileInfo) error {
	parent, err := at.dst.Open(".")
	if err != nil {
		return err
	}
	defer parent.Close()
	stat, dir := sysStat(info), int(parent.Fd())
	if err := unix.Mknodat(dir, name, stat.Mode, int(stat.Rdev)); err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	if err := at.dst.Lchown(name, int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmodat(dir, name, stat.Mode&^unix.S_IFMT, 0); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	return at.dst.Chtimes(name, time.Time{}, info.ModTime())
}

// attributes copies the metadata of a file. The order matters: chown(2) clears setuid bits and file
// capabilities.
func (c *copier) attributes(at place, name string, out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	stat := sysStat(info)
	if err := out.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if err := c.xattrs(out, in); err != nil {
		return err
	}
	if err := out.Chmod(info.Mode()); err != nil {
		return err
	}
	return at.dst.Chtimes(name, time.Time{}, info.ModTime())
}

func (c *copier) xattrs(out, in *os.File) error {
	n, err := unix.Flistxattr(int(in.Fd()), c.names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list of extended attributes: %w", err)
	}
	for key := range bytes.SplitSeq(c.names[:n], []byte{0}) {
		if err := c.xattr(out, in, string(key)); err != nil {
			return fmt.Errorf("extended attribute %q: %w", key, err)
		}
	}
	return nil
}

func (c *copier) xattr(out, in *os.File, key string) error {
	if key == "" || key == selinuxLabel {
		return nil
	}
	n, err := unix.Fgetxattr(int(in.Fd()), key, c.value)
	if err != nil {
		return err
	}
	return unix.Fsetxattr(int(out.Fd()), key, c.value[:n], 0)
}

// sysStat returns the Linux part of info.
func sysStat(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
