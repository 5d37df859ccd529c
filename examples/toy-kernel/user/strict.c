/* Strict mode: what it allows, what it kills, and that it kills one thread. */
#include "toy.h"

static struct thread one, two;
static volatile int turn;

static long enter(void)
{
	return call(SYS_seccomp, SET_MODE_STRICT, 0, 0);
}

static void allowed(void)
{
	show("strict", enter());
	show("read", call(SYS_read, 100, 0, 0));
	call(SYS_exit, 7);
}

static void by_prctl(void)
{
	show("strict", call(SYS_prctl, PR_SET_SECCOMP, 1, 77, 0, 0));
	call(SYS_exit, 8);
}

static void exit_group(void)
{
	enter();
	call(SYS_exit_group, 7);
}

static void getpid(void)
{
	enter();
	call(SYS_getpid);
	print("not reached\n");
}

static void unknown(void)
{
	enter();
	call(3000);
	print("not reached\n");
}

static void again(void)
{
	enter();
	call(SYS_prctl, PR_GET_SECCOMP);
	print("not reached\n");
}

static void handler(int signal, struct siginfo *info, uint64_t *context)
{
	print("handled\n");
}

/* A signal that comes in strict mode: the return from its handler is allowed. */
static void returns(void)
{
	char byte;
	int fds[2], ready[2];
	long me = call(SYS_getpid);

	call(SYS_pipe2, fds, 0);
	call(SYS_pipe2, ready, 0);
	handle(SIGUSR1, handler, 0);
	long child = fork();
	if (child == 0) {
		call(SYS_read, ready[0], &byte, 1);
		/* Until it waits. */
		pause_for(100);
		call(SYS_kill, me, SIGUSR1);
		quit(0);
	}
	enter();
	call(SYS_write, ready[1], "", 1);
	show("interrupted", call(SYS_read, fds[0], &byte, 1));
	call(SYS_exit, 9);
}

static void strict_thread(void *unused)
{
	enter();
	call(SYS_getpid);
	print("not reached\n");
}

static void stays_strict(void *unused)
{
	char byte;

	enter();
	signal_to(&turn, 1);
	call(SYS_read, 0, &byte, 1);
	print("not reached\n");
}

static void of_several(void)
{
	start(&one, strict_thread, 0);
	join(&one);
	show("this thread", call(SYS_prctl, PR_GET_SECCOMP));
	/* The new thread calls futex, which kills it. */
	start(&two, stays_strict, 0);
	join(&two);
	show("filter", on_call(SYS_getuid, RET_ERRNO | 3, 0));
	show("getuid", call(SYS_getuid));
}

static void filter_after(void)
{
	enter();
	on_call(SYS_getuid, RET_ERRNO | 3, 0);
	print("not reached\n");
}

int main(int argc, char **argv)
{
	in_child("allowed", allowed);
	in_child("prctl", by_prctl);
	in_child("exit_group", exit_group);
	in_child("getpid", getpid);
	in_child("unknown", unknown);
	in_child("again", again);
	in_child("handler", returns);
	in_child("of several", of_several);
	in_child("filter", filter_after);
	return 0;
}
