/* TSYNC: every thread gets the filter, or none, and then it is said which cannot. */
#include "toy.h"

enum { THREADS = 4 };
static struct thread threads[THREADS];
static volatile int ready, go;
static int diverges, is_strict, strict_pipe[2];
static volatile long seen[THREADS], privileges[THREADS], tids[THREADS];

static void thread(void *argument)
{
	long i = (long)argument;

	tids[i] = call(SYS_gettid);
	if (diverges && i == 2)
		on_call(SYS_getuid, RET_ERRNO | 9, 0);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	futex(&ready, 1, 1000);
	if (is_strict && i == 1) {
		char byte;
		call(SYS_seccomp, SET_MODE_STRICT, 0, 0);
		call(SYS_write, strict_pipe[1], "", 1);
		/* Nothing but reading can be done now. */
		while (!go)
			call(SYS_read, 0, &byte, 0);
		call(SYS_exit, 0);
	}
	await(&go, 1);
	seen[i] = call(SYS_getppid);
	privileges[i] = call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

static void synchronise(const char *what, unsigned flags)
{
	print("%s\n", what);
	ready = go = 0;
	for (long i = 0; i < THREADS; i++)
		start(&threads[i], thread, (void *)i);
	int now;
	while ((now = ready) != THREADS)
		futex(&ready, 0, now);
	char byte;
	if (is_strict)
		call(SYS_read, strict_pipe[0], &byte, 1);
	long result = on_call(SYS_getppid, RET_ERRNO | (100 + flags), flags);
	for (long i = 0; i < THREADS; i++)
		if (result > 0 && tids[i] == result)
			print("thread %d cannot\n", i);
	if (result <= 0)
		show("tsync", result);
	signal_to(&go, 1);
	for (long i = 0; i < THREADS; i++) {
		join(&threads[i]);
		if (!(is_strict && i == 1))
			print("thread %d: %d %d\n", i, seen[i] > 0 ? 0 : seen[i], privileges[i]);
	}
	long own = call(SYS_getppid);
	show("this thread", own > 0 ? 0 : own);
}

static void all(void)
{
	synchronise("all", TSYNC);
	/* They have this one's now, so another goes on top. */
	synchronise("again", TSYNC | TSYNC_ESRCH);
}

static void with_privileges(void)
{
	no_new_privs();
	synchronise("no new privileges", TSYNC);
}

static void diverging(void)
{
	diverges = 1;
	synchronise("diverging", TSYNC);
	synchronise("diverging, as an error", TSYNC | TSYNC_ESRCH);
}

static void strict(void)
{
	is_strict = 1;
	call(SYS_pipe2, strict_pipe, 0);
	synchronise("one in strict mode", TSYNC);
}

static void behind(void)
{
	/* Threads that have an older filter of this one's follow. */
	on_call(SYS_getuid, RET_ERRNO | 1, 0);
	synchronise("behind", TSYNC);
	show("getuid", call(SYS_getuid));
}

int main(int argc, char **argv)
{
	in_child("all", all);
	in_child("no new privileges", with_privileges);
	in_child("diverging", diverging);
	in_child("strict", strict);
	in_child("behind", behind);
	return 0;
}
