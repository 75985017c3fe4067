// SPDX-License-Identifier: Apache-2.0

// Nnp prints its effective user id: installed setuid root, it shows what no_new_privs takes away.
// It is a program of the images of the tests.
package main

import (
	"fmt"
	"os"
)

func main() { fmt.Printf("Effective uid: %d\n", os.Geteuid()) }
