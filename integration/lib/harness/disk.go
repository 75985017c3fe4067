// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// mountDisk mounts the disk of [Options.DiskMiB] at the bench's root: ext4 on a loop device. Its
// file is unlinked at once, so that the kernel frees it at the unmount.
func (b *Bench) mountDisk(ctx context.Context) error {
	if b.DiskMiB == 0 {
		return nil
	}
	image := b.Root + ".img"
	defer os.Remove(image)
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"mke2fs", "-q", "-t", "ext4", "-m", "0", image, strconv.Itoa(b.DiskMiB) + "M"},
		{"mount", "-o", "loop", image, b.Root},
	} {
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command[0], err, out)
		}
	}
	return nil
}

// mountTmpfs creates directories and mounts a tmpfs at each.
func mountTmpfs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o711); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=711"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	return nil
}

// FillDisk fills the disk of the bench to the last block. free frees the space again.
func FillDisk(b *Bench) (free func() error, err error) {
	name := b.Path("ballast")
	ballast, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer ballast.Close()
	if _, err := io.Copy(ballast, zeros{}); !errors.Is(err, unix.ENOSPC) {
		return nil, fmt.Errorf("fill the disk: %w", err)
	}
	return func() error { return os.Remove(name) }, nil
}

// zeros is an endless reader of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FreezeDatabase makes containerd's metadata database unwritable: each write to the file fails,
// also for processes that have it open. thaw makes it writable again.
func FreezeDatabase(b *Bench) (thaw func() error, err error) {
	db, err := os.Open(b.Path("root", "io.containerd.metadata.v1.bolt", "meta.db"))
	if err != nil {
		return nil, err
	}
	flags, err := unix.IoctlGetInt(int(db.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return nil, fmt.Errorf("flags of %s: %w", db.Name(), err)
	}
	const immutable = 0x10 // FS_IMMUTABLE_FL, ioctl_iflags(2)
	set := func(flags int) error { return unix.IoctlSetPointerInt(int(db.Fd()), unix.FS_IOC_SETFLAGS, flags) }
	if err := set(flags | immutable); err != nil {
		return nil, fmt.Errorf("make %s immutable: %w", db.Name(), err)
	}
	return func() error { return errors.Join(set(flags), db.Close()) }, nil
}

const (
	// stallTime is how long a disk that [StallDisk] stalls stands still at a time, and stallPause
	// how long it works in between.
	stallTime  = 1500 * time.Millisecond
	stallPause = 150 * time.Millisecond
)

// StallDisk makes the disk of the bench slow: all writes wait for most of the time. The disk is
// that of [Options.DiskMiB]. end makes it as fast as before.
func StallDisk(b *Bench) (end func() error, err error) {
	freeze := func(flag string) error { return exec.Command("fsfreeze", flag, b.Root).Run() }
	if err := freeze("--freeze"); err != nil {
		return nil, fmt.Errorf("fsfreeze: %w", err)
	}
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			time.Sleep(stallTime)
			if err := freeze("--unfreeze"); err != nil {
				result <- err
				return
			}
			select {
			case <-stop:
				result <- nil
				return
			case <-time.After(stallPause):
			}
			if err := freeze("--freeze"); err != nil {
				result <- err
				return
			}
		}
	}()
	return func() error { close(stop); return <-result }, nil
}
