// SPDX-License-Identifier: Apache-2.0

// Package rootfs reads a container's root filesystem before anything of it runs: which user the
// container gets ([ResolveUser]) and what the image holds in its volumes ([CopyVolumes]).
//
// It works on a mounted root directory that nobody writes to meanwhile; mounting is the caller's.
// What is in there comes from an image and may want to harm the host, so every path is resolved as
// a process that is chrooted there would see it: absolute links work, as images need that keep
// /etc/passwd elsewhere (NixOS), and neither a link nor ".." leads out (CVE-2022-23648). [os.Root]
// alone would refuse absolute links. A file is looked at before it is opened, so that a FIFO or a
// device in its place does nothing.
//
// The package keeps no state; all functions may be called concurrently.
package rootfs
