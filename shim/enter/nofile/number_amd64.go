// SPDX-License-Identifier: Apache-2.0

package nofile

const prlimit64 = 302 // SYS_PRLIMIT64
