/* Every combination of flags with everything that can be wrong, and what is looked at first. */
#include "notify.h"
#include <sys/resource.h>

static struct sock_filter allow[] = { ALWAYS(SECCOMP_RET_ALLOW) };
static struct sock_filter bad[] = { LOAD(nr) };
static struct sock_fprog good_program = FPROG(allow), bad_program = FPROG(bad), no_program = { 1, NULL },
			 empty_program = { 0, allow }, unreadable = { 1, (void *)8 };

static const struct {
	const char *name;
	struct sock_fprog *program;
} programs[] = {
	{ "good", &good_program }, { "bad", &bad_program },	  { "none", &no_program },
	{ "empty", &empty_program }, { "unreadable", &unreadable }, { "null", NULL },
};

static long install(unsigned flags, struct sock_fprog *program)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
}

/* What a child with this preparation answers. */
static void in_child(const char *how, void (*prepare)(void), unsigned flags, int i)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		prepare();
		long result = install(flags, programs[i].program);
		printf("%s %x %s: %ld %d\n", how, flags, programs[i].name, result, result < 0 ? errno : 0);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void nothing(void)
{
}

static void has_listener(void)
{
	listen_on(SYS_getuid, 0);
}

static void had_listener(void)
{
	close(listen_on(SYS_getuid, 0));
}

static void has_no_descriptors(void)
{
	struct rlimit limit = { 3, 3 };

	setrlimit(RLIMIT_NOFILE, &limit);
}

static void has_listener_and_no_descriptors(void)
{
	has_listener();
	has_no_descriptors();
}

/* As many filters as there can be. */
static void is_full(void)
{
	struct sock_filter insns[4096];
	struct sock_fprog large = FPROG(insns);

	for (int i = 0; i < 4096; i++)
		insns[i] = allow[0];
	while (install(0, &large) == 0)
		;
	while (install(0, &good_program) == 0)
		;
}

static void strict(void)
{
	syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
}

int main(void)
{
	no_new_privs();
	for (int i = 0; i < 6; i++) {
		for (unsigned flags = 0; flags <= 64; flags++)
			in_child("plain", nothing, flags, i);
		in_child("listener", has_listener, LISTENER, i);
		in_child("had listener", had_listener, LISTENER, i);
		in_child("no descriptors", has_no_descriptors, LISTENER, i);
		in_child("listener, no descriptors", has_listener_and_no_descriptors, LISTENER, i);
		in_child("full", is_full, LISTENER, i);
		in_child("strict", strict, LISTENER, i);
		in_child("tsync", has_listener, SECCOMP_FILTER_FLAG_TSYNC, i);
	}
	/* A call that failed late has left nothing behind. */
	is_full();
	int before = dup(0);
	close(before);
	show("full", install(LISTENER, &good_program));
	int after = dup(0);
	printf("open: %d\n", after - before);
	return 0;
}
