/* Installing filters: by prctl and by seccomp, what is refused in which order, and what they then do. */
#include "toy.h"

static const struct sock_filter allow[] = { RETURN(RET_ALLOW) };

static long by_prctl(uint32_t value)
{
	const struct sock_filter insns[] = { LOAD(nr), UNLESS(SYS_getuid, 1), RETURN(value), RETURN(RET_ALLOW) };
	struct sock_fprog prog = { 4, insns };
	return call(SYS_prctl, PR_SET_SECCOMP, 2, &prog, 77, 77);
}

static void refusals(void)
{
	struct sock_fprog prog = { 1, allow };

	show("mode", call(SYS_prctl, PR_GET_SECCOMP));
	show("operation", call(SYS_seccomp, 4, 0, 0));
	show("prctl mode 0", call(SYS_prctl, PR_SET_SECCOMP, 0, &prog));
	show("prctl mode 3", call(SYS_prctl, PR_SET_SECCOMP, 3, &prog));
	show("strict flags", call(SYS_seccomp, SET_MODE_STRICT, 1, 0));
	show("strict argument", call(SYS_seccomp, SET_MODE_STRICT, 0, &prog));
	show("unknown flags", call(SYS_seccomp, SET_MODE_FILTER, 64, &prog));
	show("flags that do not agree", call(SYS_seccomp, SET_MODE_FILTER, TSYNC | NEW_LISTENER, &prog));
	show("killable without listener", call(SYS_seccomp, SET_MODE_FILTER, WAIT_KILLABLE_RECV, &prog));
	show("null", call(SYS_seccomp, SET_MODE_FILTER, 0, 0));
	show("no memory", call(SYS_seccomp, SET_MODE_FILTER, 0, 8));
	prog.len = 0;
	show("empty", call(SYS_seccomp, SET_MODE_FILTER, 0, &prog));
	prog.len = 4097;
	show("too long", call(SYS_seccomp, SET_MODE_FILTER, 0, &prog));
	prog.len = 1;
	prog.filter = 0;
	show("null program", call(SYS_seccomp, SET_MODE_FILTER, 0, &prog));
	prog.filter = (void *)16;
	show("no program", call(SYS_seccomp, SET_MODE_FILTER, 0, &prog));
	show("no return", install(0, LOAD(nr)));
	show("byte load", install(0, INSN(0x30, 0, 0, 0), RETURN(RET_ALLOW)));
	show("odd load", install(0, INSN(0x20, 0, 0, 2), RETURN(RET_ALLOW)));
	show("load behind", install(0, INSN(0x20, 0, 0, 64), RETURN(RET_ALLOW)));
	show("far jump", install(0, INSN(0x05, 0, 0, 1), RETURN(RET_ALLOW)));
	show("unset memory", install(0, INSN(0x60, 0, 0, 0), RETURN(RET_ALLOW)));
	show("modulo", install(0, INSN(0x94, 0, 0, 3), RETURN(RET_ALLOW)));
	uint32_t action = RET_TRAP;
	show("action", call(SYS_seccomp, GET_ACTION_AVAIL, 0, &action));
	action = 0x10000;
	show("unknown action", call(SYS_seccomp, GET_ACTION_AVAIL, 0, &action));
	uint16_t sizes[3] = { 0 };
	show("sizes", call(SYS_seccomp, GET_NOTIF_SIZES, 0, sizes));
	print("%d %d %d\n", (long)sizes[0], (long)sizes[1], (long)sizes[2]);
}

static void unprivileged(void)
{
	struct sock_fprog prog = { 1, 0 };

	show("setuid", call(SYS_setuid, 1000));
	show("without right", on_call(SYS_getuid, RET_ERRNO | 7, 0));
	show("right before null", call(SYS_seccomp, SET_MODE_FILTER, 0, &prog));
	show("bad arguments", call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
	no_new_privs();
	show("no new privileges", call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	show("with right", on_call(SYS_getuid, RET_ERRNO | 7, 0));
	show("getuid", call(SYS_getuid));
}

static void answers(void)
{
	show("prctl", by_prctl(RET_ERRNO | 5));
	show("mode", call(SYS_prctl, PR_GET_SECCOMP));
	show("errno", call(SYS_getuid));
	on_call(SYS_getppid, RET_ERRNO | 0xffff, 0);
	show("largest errno", call(SYS_getppid));
	on_call(SYS_gettid, RET_ERRNO, 0);
	show("no errno", call(SYS_gettid));
	on_call(SYS_getuid, RET_ERRNO | 6, 0);
	show("the newest of equals", call(SYS_getuid));
	on_call(SYS_getuid, RET_TRACE | 6, 0);
	show("the stricter", call(SYS_getuid));
	on_call(SYS_sched_yield, RET_TRACE | 6, 0);
	show("no tracer", call(SYS_sched_yield));
	on_call(SYS_munmap, RET_USER_NOTIF | 6, 0);
	show("no supervisor", call(SYS_munmap));
	on_call(SYS_mprotect, RET_LOG, 0);
	show("logged", call(SYS_mprotect, 1, 1, 0));
	on_call(3000, RET_ERRNO | 8, 0);
	show("unknown call", call(3000));
	show("another unknown call", call(3001));
	on_call(-1, RET_ERRNO | 9, 0);
	show("call -1", call(-1));
	show("strict after filter", call(SYS_seccomp, SET_MODE_STRICT, 0, 0));
}

static void arguments(void)
{
	/* On the low word of the second argument, and on the architecture. */
	show("install", install(0, LOAD(nr), UNLESS(SYS_kill, 5), LOAD(args[1]), UNLESS(4711, 3), LOAD(arch),
				 UNLESS(AUDIT_ARCH, 1), RETURN(RET_ERRNO | 42), RETURN(RET_ALLOW)));
	show("kill", call(SYS_kill, 0x7fffffff, 4711));
	/* Jumps that have no target but the denial: arithmetic, memory, and the length. */
	show("install", install(0, LOAD(nr), UNLESS(SYS_getuid, 6), INSN(0x80, 0, 0, 0), INSN(0x02, 0, 0, 3),
				 INSN(0x61, 0, 0, 3), INSN(0x0c, 0, 0, 0), INSN(0x44, 0, 0, RET_ERRNO), INSN(0x16, 0, 0, 0),
				 RETURN(RET_ALLOW)));
	show("twice the length", call(SYS_getuid));
}

static void path(void)
{
	long installed = 0, error;

	while ((error = set_filter(allow, 1, 0)) == 0)
		installed++;
	print("%d filters, then %d\n", installed, error);
	show("getpid works", call(SYS_getpid) > 0);
}

static void longest(void)
{
	static struct sock_filter insns[4096];

	for (int i = 0; i < 4096; i++)
		insns[i] = (struct sock_filter)RETURN(RET_ALLOW);
	for (int i = 0; i < 5; i++)
		show("4096 instructions", set_filter(insns, 4096, 0));
}

int main(int argc, char **argv)
{
	refusals();
	in_child("unprivileged", unprivileged);
	in_child("answers", answers);
	in_child("arguments", arguments);
	in_child("longest", longest);
	in_child("path", path);
	show("mode", call(SYS_prctl, PR_GET_SECCOMP));
	return 3;
}
