/*
 * Calls getppid(2), with what it knows of itself as arguments, in threads and processes that come and go and execute
 * programs: prints the errno of each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void call(const char *who)
{
	unsigned long comm[2] = { 0 };
	char line[64];

	prctl(PR_GET_NAME, comm);
	errno = 0;
	syscall(SYS_getppid, getpid(), gettid(), getuid(), getgid(), comm[0], comm[1]);
	/* At once, so that no child has it in its buffers. */
	int len = snprintf(line, sizeof(line), "%s %d\n", who, errno);
	if (write(1, line, len) != len)
		_exit(1);
}

static void *thread(void *unused)
{
	call("thread");
	execl("/proc/self/exe", "tasks", "executed", NULL);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t id;

	if (argc > 1) {
		call(argv[1]);
		if (strcmp(argv[1], "executed") != 0)
			return 0;
		pid_t child = vfork();
		if (child == 0) {
			execl("/proc/self/exe", "tasks", "vforked", NULL);
			_exit(1);
		}
		waitpid(child, NULL, 0);
		child = syscall(SYS_clone, 17, 0, 0, 0, 0);
		if (child == 0) {
			call("cloned");
			_exit(0);
		}
		waitpid(child, NULL, 0);
		call("parent");
		return 0;
	}
	call("main");
	pthread_create(&id, NULL, thread, NULL);
	pthread_join(id, NULL);
	return 0;
}
