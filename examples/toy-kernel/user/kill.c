/* KILL_THREAD and KILL_PROCESS, of the only thread and of one among several; actions that Linux does not know. */
#include "toy.h"

static struct thread one, two;
static volatile int turn;

static void calls(void *nr)
{
	call((long)nr);
	print("not reached\n");
}

static void waits(void *unused)
{
	await(&turn, 1);
	print("another thread lives\n");
}

static void thread_of_several(void)
{
	start(&two, waits, 0);
	on_call(SYS_getuid, RET_KILL_THREAD, 0);
	start(&one, calls, (void *)SYS_getuid);
	join(&one);
	signal_to(&turn, 1);
	join(&two);
	print("the first thread lives\n");
}

static void process_of_several(void)
{
	start(&two, waits, 0);
	on_call(SYS_getuid, RET_KILL_PROCESS, 0);
	start(&one, calls, (void *)SYS_getuid);
	join(&one);
	pause_for(10000);
	print("not reached\n");
}

static void only_thread(void)
{
	on_call(SYS_getuid, RET_KILL_THREAD, 0);
	calls((void *)SYS_getuid);
}

static void only_process(void)
{
	on_call(SYS_getuid, RET_KILL_PROCESS | 7, 0);
	calls((void *)SYS_getuid);
}

static void unknown(void)
{
	on_call(SYS_getuid, 0x10000, 0);
	start(&one, calls, (void *)SYS_getuid);
	join(&one);
	pause_for(10000);
	print("not reached\n");
}

static void handler(int signal, struct siginfo *info, uint64_t *context)
{
	print("no handler runs\n");
}

static void with_handler(void)
{
	handle(SIGSYS, handler, 0);
	block(SIGSYS);
	only_process();
}

static volatile int first_lives = 1;

static void exits_later(void *unused)
{
	await(&first_lives, 0);
	call(SYS_exit_group, 5);
}

/* The first thread dies; another ends the process. */
static void leader(void)
{
	call(SYS_set_tid_address, &first_lives);
	start(&one, exits_later, 0);
	on_call(SYS_getuid, RET_KILL_THREAD, 0);
	calls((void *)SYS_getuid);
}

static void ends(void *unused)
{
	await(&first_lives, 0);
}

static void leader_and_the_rest_end(void)
{
	call(SYS_set_tid_address, &first_lives);
	start(&one, ends, 0);
	on_call(SYS_getuid, RET_KILL_THREAD, 0);
	calls((void *)SYS_getuid);
}

int main(int argc, char **argv)
{
	in_child("a thread of several", thread_of_several);
	in_child("a process of several", process_of_several);
	in_child("the only thread", only_thread);
	in_child("the only process", only_process);
	in_child("unknown action", unknown);
	in_child("with a handler", with_handler);
	in_child("the first thread", leader);
	in_child("the first thread, and the rest end", leader_and_the_rest_end);
	return 0;
}
