// SPDX-License-Identifier: Apache-2.0

// Package nritest fakes the NRI plugins of a node for the tests of pods and containers.
package nritest
