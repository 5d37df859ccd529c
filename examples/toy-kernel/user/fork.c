/* What a child gets of its parent's filters, and what neither sees of the other's later ones. */
#include "toy.h"

static void grandchild(void)
{
	show("grandchild", call(SYS_getuid));
	show("its own", on_call(SYS_getuid, RET_KILL_PROCESS, 0));
	call(SYS_getuid);
	print("not reached\n");
}

static void child(void)
{
	show("mode", call(SYS_prctl, PR_GET_SECCOMP));
	show("no new privileges", call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	show("child", call(SYS_getuid));
	on_call(SYS_getuid, RET_ERRNO | 2, 0);
	show("child's own", call(SYS_getuid));
	in_child("grandchild", grandchild);
	show("child after", call(SYS_getuid));
}

static void strict_child(void)
{
	call(SYS_prctl, PR_SET_SECCOMP, 1, 0, 0, 0);
	call(SYS_exit, 0);
}

static void forks_filtered(void)
{
	on_call(SYS_clone, RET_ERRNO | 11, 0);
	show("fork", fork());
}

int main(int argc, char **argv)
{
	no_new_privs();
	on_call(SYS_getuid, RET_ERRNO | 1, 0);
	in_child("child", child);
	show("parent", call(SYS_getuid));
	in_child("strict", strict_child);
	in_child("filtered fork", forks_filtered);
	/* What was installed after the fork is the parent's alone. */
	int fds[2];
	char byte;
	call(SYS_pipe2, fds, 0);
	long late = fork();
	if (late == 0) {
		call(SYS_read, fds[0], &byte, 1);
		show("born before", call(SYS_getuid));
		quit(4);
	}
	on_call(SYS_getuid, RET_ERRNO | 3, 0);
	show("parent", call(SYS_getuid));
	call(SYS_write, fds[1], "", 1);
	print("late: status %x\n", (long)wait_for(late));
	return 0;
}
