/* The numbers of uretprobe and uprobe on x86-64, under filters that deny them. */
#include "common.h"

static void under(const char *what, long nr, uint32_t value)
{
	int status;

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		no_new_privs();
		deny(nr, value, 0);
		show(what, syscall(nr, 0, 0, 0, 0));
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("%ld %s: signal %d exit %d\n", nr, what, WTERMSIG(status), WEXITSTATUS(status));
}

int main(void)
{
	for (long nr = 335; nr < 338; nr++) {
		under("allow", nr, SECCOMP_RET_ALLOW);
		under("errno", nr, SECCOMP_RET_ERRNO | 7);
		under("trap", nr, SECCOMP_RET_TRAP);
		under("trace", nr, SECCOMP_RET_TRACE);
		under("notify", nr, SECCOMP_RET_USER_NOTIF);
		under("kill thread", nr, SECCOMP_RET_KILL_THREAD);
		under("kill process", nr, SECCOMP_RET_KILL_PROCESS);
		under("unknown", nr, 0x10000);
	}
	return 0;
}
