// SPDX-License-Identifier: Apache-2.0

// Pause waits for a signal, reaping the children that a shared PID namespace leaves to process 1. It is not written in
// Go, as everything else is: its memory is part of what stock containerd pays for a pod, and is that of the pause
// programs that people run.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	// What is blocked waits for us; what is neither blocked nor handled does not reach a process 1.
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int got;
		if (sigwait(&set, &got) != 0) return 1;
		if (got != SIGCHLD) return 0;
		while (waitpid(-1, NULL, WNOHANG) > 0) {}
	}
}
