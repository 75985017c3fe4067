// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// release is the Debian release of the guest.
const release = "bookworm"

// packages are those that the suites need on a node, in addition to debootstrap's minimal set: crun
// is the second OCI runtime, conmon the shim of CRI-O, and critest calls `sudo apparmor_parser`.
var packages = []string{
	"linux-image-cloud-amd64", "initramfs-tools", "zstd",
	"systemd", "systemd-sysv", "udev", "dbus",
	"mount", "util-linux", "procps", "kmod", "iproute2", "iptables", "strace",
	"apparmor", "sudo", "crun", "conmon", "libseccomp2",
}

// rootfs are the files that make a Debian a guest: its payload is mounted and started.
//
//go:embed rootfs
var rootfs embed.FS

// size is the size of the disks of a guest. The files are sparse.
const size = "8G"

// Image is a directory with the root file system of a guest, its kernel and its initial RAM disk.
type Image string

func (i Image) path(name string) string { return filepath.Join(string(i), name) }

// Build makes the image, unless an image of the present packages and files exists. It takes a
// minute or two and writes that to progress.
func (i Image) Build(ctx context.Context, progress io.Writer) error {
	want, err := mark(packages, rootfs)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(i.path("mark")); err == nil && string(have) == want {
		return nil
	}
	fmt.Fprintf(progress, "==> building the root file system of the guest in %s; this takes a minute or two\n", i)
	root := i.path("rootfs")
	for _, old := range []string{"mark", "rootfs"} {
		if err := os.RemoveAll(i.path(old)); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context, string) error{debootstrap, enableUnits, i.copyKernel, i.makeRoot} {
		if err := step(ctx, root); err != nil {
			return fmt.Errorf("guest image: %w", err)
		}
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	return os.WriteFile(i.path("mark"), []byte(want), 0o644)
}

// mark returns a hash of everything that an image is built from.
func mark(packages []string, files fs.FS) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, release, size, packages)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		fmt.Fprintf(sum, "%s %q\n", name, text)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

// debootstrap installs Debian in root, from the mirror that this host's apt uses.
func debootstrap(ctx context.Context, root string) error {
	targets, err := output(ctx, "apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Identifier: Packages")
	if err != nil {
		return err
	}
	mirror, err := findMirror(targets)
	if err != nil {
		return err
	}
	if _, err = output(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(packages, ","), release, root, mirror); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(root, "var/cache/apt/archives"))
}

// findMirror returns the address of the release among apt's lines of codename, component and
// address.
func findMirror(targets string) (string, error) {
	for line := range strings.Lines(targets) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == release && fields[1] == "main" {
			return fields[2], nil
		}
	}
	return "", fmt.Errorf("apt has no source of Debian %s (add one and run apt-get update): %w", release, fs.ErrNotExist)
}

// enableUnits copies our files to root and enables the systemd units that they need.
func enableUnits(ctx context.Context, root string) error {
	err := fs.WalkDir(rootfs, "rootfs", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(root, strings.TrimPrefix(name, "rootfs"))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := rootfs.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
	if err != nil {
		return err
	}
	if _, err := output(ctx, "chroot", root, "systemctl", "--quiet", "enable", "payload.service", "systemd-networkd.service"); err != nil {
		return err
	}
	// The payload uses the console. Debian's timers would change the host during the leak check.
	_, err = output(ctx, "chroot", root, "systemctl", "--quiet", "mask", "serial-getty@ttyS0.service", "getty@tty1.service",
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
		"systemd-tmpfiles-clean.timer")
	return err
}

// takeKernel copies the kernel and its initial RAM disk to the image's directory, for qemu.
func (i Image) copyKernel(_ context.Context, root string) error {
	for _, name := range []string{"vmlinuz", "initrd.img"} {
		found, err := filepath.Glob(filepath.Join(root, "boot", name+"-*"))
		if err != nil || len(found) != 1 {
			return errors.Join(err, fmt.Errorf("%d files match /boot/%s-*, want 1", len(found), name))
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			return err
		}
		if err := os.WriteFile(i.path(name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (i Image) makeRoot(ctx context.Context, root string) error {
	return makeDisk(ctx, i.path("root.img"), root, "root", "-O", "has_journal")
}

// makeDisk makes an ext4 file system with the content of a directory.
func makeDisk(ctx context.Context, file, content, label string, options ...string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	args := append([]string{"-q", "-t", "ext4", "-m", "0", "-L", label, "-d", content}, options...)
	_, err := output(ctx, "mke2fs", append(args, file, size)...)
	return err
}

// output runs a program of the host and returns its stdout; the error includes its stdout and
// stderr.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, lastLines(string(out)+stderr.String(), 20))
	}
	return string(out), err
}

// lastLines returns the last count lines of a text.
func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
