/* Threads that make threads while the process exits: some are born of threads that never tell of them. */
#include "common.h"

static void *leaf(void *arg)
{
	return arg;
}

static void *maker(void *arg)
{
	pthread_t thread;

	for (;;)
		if (pthread_create(&thread, NULL, leaf, NULL) == 0)
			pthread_detach(thread);
	return arg;
}

int main(void)
{
	for (int i = 0; i < 40; i++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;
			for (int j = 0; j < 3; j++)
				pthread_create(&thread, NULL, maker, NULL);
			usleep(1000 + i * 100);
			_exit(7);
		}
		int status;
		waitpid(child, &status, 0);
		printf("%d\n", WEXITSTATUS(status));
	}
	return 0;
}
