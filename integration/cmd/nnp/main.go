// SPDX-License-Identifier: Apache-2.0

// Nnp prints its effective user ID. Installed setuid root, it shows the effect of no_new_privs. It
// is a program in the test images.
package main

import (
	"fmt"
	"os"
)

func main() { fmt.Printf("Effective uid: %d\n", os.Geteuid()) }
