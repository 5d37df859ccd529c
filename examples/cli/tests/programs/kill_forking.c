/* Processes that are killed while they fork: their children live on, under the same filters. */
#include "common.h"

int main(void)
{
	no_new_privs();
	show("install", deny(SYS_getppid, SECCOMP_RET_ERRNO | 55, 0));
	for (int i = 0; i < 60; i++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			for (;;) {
				pid_t grandchild = fork();
				if (grandchild == 0)
					_exit(syscall(SYS_getppid) == -1 && errno == 55 ? 0 : kill(0, SIGABRT));
				if (grandchild > 0)
					waitpid(grandchild, NULL, 0);
			}
		}
		usleep(1000 + i * 50);
		kill(child, SIGKILL);
		int status;
		waitpid(child, &status, 0);
		printf("%d\n", WTERMSIG(status));
	}
	return 0;
}
