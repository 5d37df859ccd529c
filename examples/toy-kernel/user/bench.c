/* What a system call costs with no filter, a profile such as containers have, and many filters. Under QEMU's `-icount` a
 * nanosecond is an instruction. */
#include "toy.h"
#include "docker_like.h"

static long now(void)
{
	long time[2];
	call(SYS_clock_gettime, 1, time);
	return time[0] * 1000000000 + time[1];
}

/* Hundredths of a nanosecond for a call. */
static long cost(long nr)
{
	enum { TIMES = 2000 };

	for (int i = 0; i < 100; i++)
		call(nr, 0);
	long start = now();
	for (int i = 0; i < TIMES; i++)
		call(nr, 0);
	return (now() - start) / (TIMES / 100);
}

static long free_constant, free_argument;

static void report(const char *what, long cost, long base)
{
	long ratio = cost * 100 / base;
	print("%s: %d.%s%d, %d.%s%d times as much as without\n", what, cost / 100, cost % 100 < 10 ? "0" : "",
	      cost % 100, ratio / 100, ratio % 100 < 10 ? "0" : "", ratio % 100);
}

static void both(const char *what)
{
	print("%s\n", what);
	report("  by the number", cost(SYS_getuid), free_constant);
	report("  by an argument", cost(SYS_personality), free_argument);
}

static void profile(void)
{
	show("install", set_filter(docker_like, sizeof docker_like / sizeof *docker_like, 0));
	both("the container profile");
}

static void stack(void)
{
	for (int i = 0; i < 64; i++)
		install(0, LOAD(nr), UNLESS(SYS_personality, 3), LOAD(args[0]), UNLESS(4711 + (unsigned)i, 1),
			RETURN(RET_ERRNO | 1), RETURN(RET_ALLOW));
	both("64 filters");
}

int main(int argc, char **argv)
{
	free_constant = cost(SYS_getuid);
	free_argument = cost(SYS_personality);
	both("no filter");
	in_child("profile", profile);
	in_child("stack", stack);
	return 0;
}
