// SPDX-License-Identifier: Apache-2.0

// Package enter is a program that starts a process in a running container, as `runc exec` does for
// a container that needs little (docs/decisions/0020). The shim starts its own executable under the
// name [Name]; package shim/fastexec decides for which containers.
//
// The program is in charge of one process and exits. Its own process stays outside of the PID
// namespace of the container. It joins the other namespaces, gives up its privileges, and only then
// forks a child into the PID namespace, which a process of the container could attack. The child
// runs no program before the shim watches it.
//
// The program needs a millisecond because package init takes over before the larger packages of the
// executable are initialized: Go initializes packages in the order of their import paths as soon as
// their imports are initialized. For this reason the package imports few others, and none with
// package variables that are costly to initialize.
package enter
