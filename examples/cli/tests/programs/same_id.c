/*
 * A thread that has a filter executes a program, and while it does, another process makes a child that gets the id which
 * the thread had: the program has the thread's filter, and the child its parent's.
 */
#include "common.h"

#include <linux/sched.h>

#define TRIES 200
#define OF_THREAD 55
#define OF_PARENT 56

static char *self;
static int ends[2];

static void *second(void *unused)
{
	char *argv[] = { self, "executed", NULL };
	pid_t tid = syscall(SYS_gettid);

	if (deny(SYS_getppid, SECCOMP_RET_ERRNO | OF_THREAD, 0) || write(ends[1], &tid, sizeof(tid)) < 0)
		_exit(1);
	usleep(1000);
	execv(self, argv);
	return unused;
}

static int is_denied(long nr, int error)
{
	return syscall(nr) == -1 && errno == error;
}

/* Makes a child of this id, as soon as nobody has it. */
static void take(pid_t tid)
{
	uint64_t id = (uintptr_t)&tid;
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = id, .set_tid_size = 1 };
	int status;
	long child;

	do
		child = syscall(SYS_clone3, &args, sizeof(args));
	while (child < 0 && errno == EEXIST);
	if (child == 0)
		_exit(!is_denied(SYS_getpgrp, OF_PARENT) || is_denied(SYS_getppid, OF_THREAD));
	/* Who has no right to choose an id makes none. */
	if (child > 0 && waitpid(child, &status, 0) == child && status)
		printf("the child: %x\n", status);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return !is_denied(SYS_getppid, OF_THREAD) || is_denied(SYS_getpgrp, OF_PARENT);
	self = argv[0];
	no_new_privs();
	for (int i = 0; i < TRIES; i++) {
		pthread_t thread;
		pid_t tid, process, taker;
		int status;

		if (pipe(ends))
			return 1;
		process = fork();
		if (process == 0) {
			pthread_create(&thread, NULL, second, NULL);
			for (;;)
				pause();
		}
		if (read(ends[0], &tid, sizeof(tid)) != sizeof(tid))
			return 1;
		taker = fork();
		if (taker == 0) {
			alarm(10);
			if (deny(SYS_getpgrp, SECCOMP_RET_ERRNO | OF_PARENT, 0) == 0)
				take(tid);
			exit(0);
		}
		waitpid(process, &status, 0);
		if (status)
			printf("the program: %x\n", status);
		waitpid(taker, &status, 0);
		if (status)
			printf("its maker: %x\n", status);
		close(ends[0]);
		close(ends[1]);
	}
	printf("done\n");
	return 0;
}
