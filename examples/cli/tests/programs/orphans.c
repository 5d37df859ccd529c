/*
 * Threads with a filter and threads without end while they fork, for their process is killed or another thread of it
 * executes a program: the children of each live on, with what their own parent had.
 */
#include "common.h"

#define ROUNDS 150
#define WORKERS 4
#define DENIED 55

static int filtered;

/* Forks until it is killed. A child that has not what its parent has says so. */
static void *forks(void *unused)
{
	for (;;) {
		if (fork() == 0) {
			int denied = syscall(SYS_getppid) == -1 && errno == DENIED;
			if (denied != filtered && write(1, "another's\n", 10) != 10)
				_exit(1);
			_exit(0);
		}
	}
	return unused;
}

static void work(int executes)
{
	pthread_t thread;

	if (filtered && deny(SYS_getppid, SECCOMP_RET_ERRNO | DENIED, 0))
		_exit(1);
	if (executes) {
		pthread_create(&thread, NULL, forks, NULL);
		usleep(1000);
		execl("/proc/self/exe", "orphans", "executed", NULL);
	}
	forks(NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return argv[1][0] != 'e';
	no_new_privs();
	signal(SIGCHLD, SIG_IGN);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t workers[WORKERS];

		for (int i = 0; i < WORKERS; i++) {
			workers[i] = fork();
			if (workers[i] == 0) {
				filtered = i % 2 == 0;
				work(i / 2 % 2);
			}
		}
		usleep(2000 + round * 30);
		for (int i = 0; i < WORKERS; i++)
			kill(workers[i], SIGKILL);
		for (int i = 0; i < WORKERS; i++)
			waitpid(workers[i], NULL, 0);
	}
	printf("done\n");
	return 0;
}
