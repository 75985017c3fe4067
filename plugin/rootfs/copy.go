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
	// maxDepth bounds the open directories of a copy: one for each level.
	maxDepth = 500
	// batch is how many directory entries are read at once.
	batch = 256
	// chunk is how many bytes are copied between two looks at the context.
	chunk = 16 << 20
	// maxXattr is the kernel's limit for the value of an extended attribute, and for a list of names.
	maxXattr = 64 << 10
	// selinuxLabel is not copied: it is the image's, and the container may have another one.
	selinuxLabel = "security.selinux"
)

// copier copies the directory src into the empty directory dst. Files are named by their path from there, the same for both.
//
// continuity's fs.CopyDir would do this too, but it cannot be cancelled, syncs each file, follows plain paths and sets a directory's time
// before it fills it. [os.Root.Chmod] is not used: it needs Linux 6.6.
type copier struct {
	dst, src *os.Root
	// links is where the first name of each file with several names was copied to.
	links        map[inode]string
	names, value []byte // buffers for extended attributes
}

type inode struct{ dev, ino uint64 }

func newCopier(dst, src *os.Root) *copier {
	return &copier{dst: dst, src: src, links: make(map[inode]string), names: make([]byte, maxXattr), value: make([]byte, maxXattr)}
}

// dir copies what is in a directory, and then its attributes: a mode or a default ACL could be in the way before, and the time changes.
func (c *copier) dir(ctx context.Context, name string, depth int) error {
	if depth > maxDepth {
		return broken("%.64s...: is more than %d directories deep", name, maxDepth)
	}
	in, err := c.src.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		entries, err := in.ReadDir(batch)
		for _, e := range entries {
			if err := c.entry(ctx, path.Join(name, e.Name()), depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	out, err := c.dst.Open(name)
	if err != nil {
		return err
	}
	defer out.Close()
	return c.attributes(out, in, name)
}

func (c *copier) entry(ctx context.Context, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := c.src.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if err := c.dst.Mkdir(name, 0o700); err != nil {
			return err
		}
		return c.dir(ctx, name, depth+1)
	}
	if linked, err := c.link(name, info); linked {
		return err
	}
	switch info.Mode().Type() {
	case 0:
		return c.file(ctx, name)
	case fs.ModeSymlink:
		return c.symlink(name, info)
	default:
		return c.node(name, info)
	}
}

// link makes a hard link where the file was copied by another name before.
func (c *copier) link(name string, info fs.FileInfo) (bool, error) {
	stat := sysStat(info)
	if stat.Nlink < 2 {
		return false, nil
	}
	file := inode{stat.Dev, stat.Ino}
	first, ok := c.links[file]
	if !ok {
		c.links[file] = name
		return false, nil
	}
	return true, c.dst.Link(first, name)
}

func (c *copier) file(ctx context.Context, name string) (err error) {
	in, err := c.src.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.dst.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := copyData(ctx, out, in); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.attributes(out, in, name)
}

// copyData copies the parts of a file that are not holes, else a small image could fill the disk.
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
			return nil // nothing but a hole from here
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

func (c *copier) symlink(name string, info fs.FileInfo) error {
	target, err := c.src.Readlink(name)
	if err != nil {
		return err
	}
	if err := c.dst.Symlink(target, name); err != nil {
		return err
	}
	stat := sysStat(info)
	return c.dst.Lchown(name, int(stat.Uid), int(stat.Gid))
}

// node copies a FIFO, a socket or a device. Whether the container may open a device is for its device cgroup to say, as with those in the
// rest of its image.
func (c *copier) node(name string, info fs.FileInfo) error {
	parent, err := c.dst.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	stat, dir, base := sysStat(info), int(parent.Fd()), path.Base(name)
	if err := unix.Mknodat(dir, base, stat.Mode, int(stat.Rdev)); err != nil {
		return &fs.PathError{Op: "mknodat", Path: name, Err: err}
	}
	if err := c.dst.Lchown(name, int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmodat(dir, base, stat.Mode&^unix.S_IFMT, 0); err != nil {
		return &fs.PathError{Op: "fchmodat", Path: name, Err: err}
	}
	return c.dst.Chtimes(name, time.Time{}, info.ModTime())
}

// attributes copies what a file has beside its content. The order matters: chown(2) takes setuid bits and file capabilities away.
func (c *copier) attributes(out, in *os.File, name string) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	stat := sysStat(info)
	if err := out.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if err := out.Chmod(info.Mode()); err != nil {
		return err
	}
	if err := c.xattrs(out, in); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.dst.Chtimes(name, time.Time{}, info.ModTime())
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

// sysStat returns the Linux part of what os says about a file.
func sysStat(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
