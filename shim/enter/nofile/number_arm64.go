// SPDX-License-Identifier: Apache-2.0

package nofile

const prlimit64 = 261 // SYS_PRLIMIT64
