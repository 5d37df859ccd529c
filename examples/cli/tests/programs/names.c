/*
 * Threads with names that are no UTF-8, or that look like other lines of /proc/PID/status, in a process that is in turn
 * root's and nobody's: each is to get the filter that another thread synchronises.
 *
 * With an argument, its parent may open no file from now on.
 */
#include "common.h"

#include <sys/resource.h>

#define DENIED 55
#define NOBODY 65534

static const char *const names[] = {
	"\xff",
	/* Cyrillic, of which the last letter is cut in the middle. */
	"\xd0\xbf\xd0\xbe\xd1\x82\xd0\xbe\xd0\xba\xd0\xbf\xd0\xbe\xd1\x82",
	"\nUid:\t0\t0\t0\t0",
	"\nTgid:\t1",
	"\nState:\tZ",
	"\nNoNewPrivs:\t0",
	"a\tb) R 1 1",
	"\\n\\\\",
	"",
	"\x1b[31m",
};

static pthread_barrier_t barrier;

static void *thread(void *denied)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	*(int *)denied = syscall(SYS_getppid) == -1 && errno == DENIED;
	return NULL;
}

/* Synchronises a filter, and says whether a thread of this name got it. */
static void synchronise(int index, uid_t uid)
{
	pthread_t other;
	int denied;

	prctl(PR_SET_NAME, names[index]);
	if (uid != 0 && (setgid(uid) || setuid(uid)))
		_exit(1);
	no_new_privs();
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&other, NULL, thread, &denied);
	pthread_barrier_wait(&barrier);
	long result = deny(SYS_getppid, SECCOMP_RET_ERRNO | DENIED, SECCOMP_FILTER_FLAG_TSYNC);
	pthread_barrier_wait(&barrier);
	pthread_join(other, NULL);
	printf("%d of %u: %ld, filtered %d\n", index, uid, result, denied);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct rlimit none = { 0, 0 };

	if (argc > 1 && prlimit(getppid(), RLIMIT_NOFILE, &none, NULL))
		return 1;
	for (unsigned i = 0; i < 2 * sizeof(names) / sizeof(*names); i++) {
		fflush(stdout);
		if (fork() == 0) {
			synchronise(i / 2, i % 2 ? NOBODY : 0);
			_exit(0);
		}
		wait(NULL);
	}
	return 0;
}
