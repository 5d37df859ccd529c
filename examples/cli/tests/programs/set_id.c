/*
 * A thread gets no_new_privs by another's TSYNC, and executes this program, which has the bit that gives it its owner's
 * id. Before, it is in a call that waits, forks, and makes each call once.
 */
#include "common.h"

static int ends[2];
static const char *self;

static void *second(void *unused)
{
	char byte;
	int status;

	show("read", read(ends[0], &byte, 1));
	if (fork() == 0) {
		show("no_new_privs of a child", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
		execl(self, self, "a child", NULL);
		_exit(1);
	}
	wait(&status);
	show("ended", status);
	show("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	execl(self, self, "a thread", NULL);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc > 1) {
		show(argv[1], geteuid() == getuid());
		show("getppid", syscall(SYS_getppid));
		return 0;
	}
	self = argv[0];
	show("has its owner's id", geteuid() != getuid());
	/* The owner's it gives back: who installs filters has no rights. */
	if (setresuid(getuid(), getuid(), getuid()) || pipe(ends))
		return 1;
	pthread_create(&thread, NULL, second, NULL);
	usleep(10000);
	no_new_privs();
	show("tsync", deny(SYS_getppid, SECCOMP_RET_ERRNO | 55, SECCOMP_FILTER_FLAG_TSYNC));
	write(ends[1], "ab", 2);
	pthread_join(thread, NULL);
	return 0;
}
