/* seccomp(TSYNC): every thread gets the filter, or none and the id of the one that cannot. */
#include "common.h"

static pthread_barrier_t barrier;
static int diverge;
static long seen[4];
static pid_t tids[4];

static void *thread(void *arg)
{
	long i = (long)arg;

	tids[i] = syscall(SYS_gettid);
	if (diverge && i == 2)
		show("own filter", deny(SYS_getuid, SECCOMP_RET_ERRNO | 9, 0));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	seen[i] = syscall(SYS_getppid) < 0 ? errno : 0;
	return NULL;
}

static void with_threads(int flags)
{
	pthread_t threads[4];

	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, thread, (void *)i);
	pthread_barrier_wait(&barrier);
	long result = deny(SYS_getppid, SECCOMP_RET_ERRNO | (100 + flags), flags);
	if (result > 0) {
		for (int i = 0; i < 4; i++)
			if (tids[i] == result)
				printf("thread %d diverged\n", i);
	} else {
		show("tsync", result);
	}
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		printf("thread %d: %ld\n", i, seen[i]);
	}
}

int main(void)
{
	pthread_barrier_init(&barrier, NULL, 5);
	no_new_privs();
	with_threads(SECCOMP_FILTER_FLAG_TSYNC);
	diverge = 1;
	with_threads(SECCOMP_FILTER_FLAG_TSYNC);
	with_threads(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
	show("getppid", syscall(SYS_getppid));
	return 0;
}
