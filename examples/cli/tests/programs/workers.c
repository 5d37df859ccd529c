/* Threads that take turns and write to a pipe each; prints what came through. */
#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int sum;

static void *work(void *number)
{
	int ends[2], value = (int)(long)number;

	if (pipe(ends) || write(ends[1], &value, sizeof(value)) != sizeof(value))
		return NULL;
	value = 0;
	if (read(ends[0], &value, sizeof(value)) != sizeof(value))
		return NULL;
	close(ends[0]);
	close(ends[1]);
	pthread_mutex_lock(&lock);
	sum += value;
	pthread_mutex_unlock(&lock);
	return NULL;
}

int main(void)
{
	pthread_t threads[8];

	for (long i = 0; i < 8; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)))
			return 1;
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	printf("%d\n", sum);
	return sum == 36 ? 5 : 1;
}
