// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const (
	hostShm = "/dev/shm"
	// shmOptions are those of the built-in CRI: 64 MiB, open to all users of the pod.
	shmOptions = "mode=1777,size=67108864"
	// maxEtcFile bounds a file of the host's /etc that is copied, in bytes.
	maxEtcFile = 1 << 20
	// dirMode lets users of a pod's user namespace reach the files below, but not list the
	// directory (CVE-2024-25621).
	dirMode = 0o711
)

// PodFiles creates and removes the files of pods. Other packages may have files in the directories
// of a pod, too.
type PodFiles struct {
	Paths paths.Paths

	etc string // replaces the host's /etc in tests
}

// Of returns the paths of a pod's files. It creates nothing.
func (f PodFiles) Of(id string, config *runtimeapi.PodSandboxConfig) spec.PodFiles {
	pod := f.Paths.Pod(id)
	files := spec.PodFiles{Hostname: pod.Hostname(), Hosts: pod.Hosts(), ResolvConf: pod.ResolvConf(), Shm: pod.Shm()}
	if config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetIpc() == runtimeapi.NamespaceMode_NODE {
		files.Shm = hostShm
	}
	return files
}

// Create creates the files of a pod: hostname, a copy of the host's hosts file, resolv.conf from
// the DNS config (without one, a copy of the host's), and a tmpfs of 64 MiB for /dev/shm, unless
// the pod uses the host's IPC namespace. Create completes the files of an interrupted call. It
// rewrites files in place and never replaces them, because containers mount them. After an error,
// [PodFiles.Remove] cleans up.
func (f PodFiles) Create(id, hostname string, config *runtimeapi.PodSandboxConfig) error {
	if err := spec.CheckPod(config); err != nil {
		return err
	}
	files := f.Of(id, config)
	contents, err := f.contents(hostname, config)
	if err != nil {
		return fmt.Errorf("pod files: %w", err)
	}
	if err := os.MkdirAll(f.Paths.Pod(id).Root, dirMode); err != nil {
		return fmt.Errorf("pod files: %w", err)
	}
	for path, data := range map[string][]byte{
		files.Hostname:   contents.hostname,
		files.Hosts:      contents.hosts,
		files.ResolvConf: contents.resolvConf,
	} {
		if err := writeFile(path, data); err != nil {
			return fmt.Errorf("pod files: %w", err)
		}
	}
	if files.Shm == hostShm {
		_, err = os.Stat(hostShm)
	} else {
		err = mountShm(files.Shm)
	}
	if err != nil {
		return fmt.Errorf("pod files: /dev/shm: %w", err)
	}
	return nil
}

type contents struct {
	hostname, hosts, resolvConf []byte
}

func (f PodFiles) contents(hostname string, config *runtimeapi.PodSandboxConfig) (c contents, err error) {
	c.hostname = []byte(hostname + "\n")
	etc := f.etc
	if etc == "" {
		etc = "/etc"
	}
	if c.hosts, err = readHostFile(filepath.Join(etc, "hosts"), maxEtcFile); err != nil {
		return c, err
	}
	if dns := config.GetDnsConfig(); dns != nil {
		c.resolvConf = resolvConf(dns)
		return c, nil
	}
	c.resolvConf, err = readHostFile(filepath.Join(etc, "resolv.conf"), maxEtcFile)
	return c, err
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	// All users of the pod must be able to read the file, whatever the umask of the daemon is.
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

func mountShm(path string) error {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return err
	}
	if mounted, err := mountinfo.Mounted(path); err != nil || mounted {
		return err
	}
	if err := unix.Mount("shm", path, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, shmOptions); err != nil {
		return &os.PathError{Op: "mount tmpfs", Path: path, Err: err}
	}
	return nil
}

// Remove removes the files that Create created, and the directories if nothing else is in them. A
// pod without files is no error. Remove never removes a directory tree, because that would delete
// the content of a mount that is still in it.
func (f PodFiles) Remove(id string) error {
	pod := f.Paths.Pod(id)
	if err := unmountShm(pod.Shm()); err != nil {
		return fmt.Errorf("pod files: %w", err)
	}
	var errs []error
	for _, path := range []string{pod.Hostname(), pod.Hosts(), pod.ResolvConf(), pod.Shm(), pod.Root, pod.State} {
		err := os.Remove(path)
		shared := errors.Is(err, syscall.ENOTEMPTY) && (path == pod.Root || path == pod.State)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !shared {
			errs = append(errs, fmt.Errorf("pod files: %w", err))
		}
	}
	return errors.Join(errs...)
}

// IDs returns the IDs of the pods that have files which survive a reboot.
func (f PodFiles) IDs() ([]string, error) { return f.Paths.PodIDs() }

// unmountShm removes all mounts at path. There can be more than one after a crash between two calls
// of Create.
func unmountShm(path string) error {
	for {
		switch err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); {
		case err == nil:
			continue
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		default:
			return &os.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
}
