// SPDX-License-Identifier: Apache-2.0

// Package rootfs reads the root filesystem of a container before the container starts: the user
// that the container runs as ([ResolveUser]), the contents of the volumes that the image declares
// ([CopyVolumes]) and sub paths of image mounts ([SubPath]).
//
// The caller mounts the root directory, and no process writes to it in the meantime. The contents
// come from an image and may be hostile, so every path is resolved as in a chroot: absolute links
// work, which images need that keep /etc/passwd elsewhere (NixOS), but no link and no ".." leads
// out of the root (CVE-2022-23648). [os.Root] alone would refuse absolute links. The type of a file
// is checked before the file is opened, so that a FIFO or device in its place has no effect.
//
// The package has no state. All functions may be called concurrently.
package rootfs
