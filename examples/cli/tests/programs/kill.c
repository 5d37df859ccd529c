/* KILL_PROCESS, KILL_THREAD, strict mode and unknown actions; handlers do not run. */
#include "common.h"

static void handler(int signal)
{
	printf("handler %d\n", signal);
}

static void *victim(void *arg)
{
	syscall(SYS_getpriority, 0, 0);
	printf("not reached\n");
	return NULL;
}

static void *strict_victim(void *arg)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	syscall(SYS_getpriority, 0, 0);
	return NULL;
}

/* The filter's value for getpriority; called by the first thread, by a second one, or by neither. */
static void in_child(const char *what, uint32_t value, int handle, int second)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		pthread_t thread;
		if (handle)
			signal(SIGSYS, handle == 1 ? handler : SIG_IGN);
		if (value != 1)
			deny(SYS_getpriority, value, 0);
		if (second) {
			pthread_create(&thread, NULL, value == 1 ? strict_victim : victim, NULL);
			usleep(100000);
			printf("first thread lives\n");
			fflush(stdout);
			_exit(6);
		}
		if (value == 1) {
			show("strict", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
			write(1, "written\n", 8);
		}
		syscall(SYS_getpriority, 0, 0);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	printf("%s: signal %d exit %d\n", what, WTERMSIG(status), WEXITSTATUS(status));
}

int main(void)
{
	no_new_privs();
	for (int handle = 0; handle < 3; handle++) {
		printf("handle %d\n", handle);
		in_child("process", SECCOMP_RET_KILL_PROCESS, handle, 0);
		in_child("process from thread", SECCOMP_RET_KILL_PROCESS, handle, 1);
		in_child("thread, last", SECCOMP_RET_KILL_THREAD, handle, 0);
		in_child("thread, second", SECCOMP_RET_KILL_THREAD, handle, 1);
		in_child("unknown", 0x00010000, handle, 0);
		in_child("trace", SECCOMP_RET_TRACE | 3, handle, 0);
		in_child("notify", SECCOMP_RET_USER_NOTIF, handle, 0);
		in_child("strict", 1, handle, 0);
		in_child("strict, second", 1, handle, 1);
	}
	return 0;
}
