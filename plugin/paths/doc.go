// SPDX-License-Identifier: Apache-2.0

// Package paths knows where the files of pods and containers are: all directories below the root
// and the state directory of the plugin, and those of containerd beside them that the plugin reads.
//
// It only names and lists directories. The package that creates a directory also removes it: host
// for the files of pods, network for pinned namespaces, pod for the roots of pod inits, container
// for the directories of containers. It imports no other package of the plugin, and has no state.
package paths
