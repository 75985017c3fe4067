// SPDX-License-Identifier: Apache-2.0

// Pause waits for a signal and reaps the orphans of a shared PID namespace. It is written in C, unlike the rest: its
// memory counts as cost of a pod of stock containerd, and must be that of the pause programs in use.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	// A blocked signal stays pending for sigwait. PID 1 does not get signals that are neither blocked nor handled.
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int got;
		if (sigwait(&set, &got) != 0) return 1;
		if (got != SIGCHLD) return 0;
		while (waitpid(-1, NULL, WNOHANG) > 0) {}
	}
}
