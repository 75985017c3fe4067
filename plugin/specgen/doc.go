// SPDX-License-Identifier: Apache-2.0

// Package specgen reads the node and makes the OCI specs of containers and of the tasks of pods. It
// gathers what package spec needs from the request, config.toml, the host and the root file system
// of a container, and calls package spec, which decides what is in a spec.
//
// It takes plain values and not the records of its callers, container and pod. It calls config,
// host, rootfs and spec. A [Generator] does not change, has no locks, and may be used concurrently.
// A reload of the config replaces the Generator in [Live].
package specgen
