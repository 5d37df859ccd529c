/* Gives a program signals to begin with: `begins ACTION BLOCKED PROGRAM...`, where ACTION is `default` or
 * `ignored`, for every signal, and BLOCKED a mask. As system calls, for the C library keeps some to itself. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long long mask;
	} action = { .handler = argc > 3 && strcmp(argv[1], "ignored") == 0 ? SIG_IGN : SIG_DFL };
	unsigned long long blocked = argc > 3 ? strtoull(argv[2], NULL, 16) : 0;

	for (int nr = 1; nr <= 64; nr++)
		syscall(SYS_rt_sigaction, nr, &action, NULL, sizeof blocked);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof blocked);
	if (argc > 3)
		execvp(argv[3], argv + 3);
	perror("begins");
	return 1;
}
