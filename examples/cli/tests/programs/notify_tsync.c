/* Listeners and TSYNC: the threads of a process, and who is asked about their calls. */
#include "notify.h"

#define THREADS 3

static pthread_barrier_t barrier;
static int diverge, lowest;
static pid_t parent;
static long seen[THREADS];

static void *thread(void *arg)
{
	long i = (long)arg;

	if (diverge && i == 1)
		show("own filter", deny(SYS_getuid, SECCOMP_RET_ERRNO | 9, 0));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	seen[i] = syscall(SYS_getppid, i, 7);
	if (seen[i] < 0)
		seen[i] = -errno;
	/* Nobody was asked. */
	if (seen[i] == parent)
		seen[i] = 0;
	return NULL;
}

static pthread_t threads[THREADS];

static void start(int diverges)
{
	diverge = diverges;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, (void *)i);
	pthread_barrier_wait(&barrier);
}

static void finish(void)
{
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		printf("thread %d: %ld\n", i, seen[i]);
	}
}

static void first_free(const char *when)
{
	int fd = dup(0);

	printf("%s: %s\n", when, fd == lowest ? "nothing is left open" : "something is open");
	close(fd);
}

/* All at once. */
static int together(int socket)
{
	start(0);
	int listener = listen_on(SYS_getppid, SECCOMP_FILTER_FLAG_TSYNC | ESRCH_TOO);
	show("listener", listener >= 0);
	send_fd(socket, listener);
	close(listener);
	finish();
	return 0;
}

/* The caller's own first, then with another filter for all. */
static int later(int socket)
{
	start(0);
	int listener = listen_on(SYS_getppid, 0);
	show("listener", listener >= 0);
	send_fd(socket, listener);
	close(listener);
	show("tsync", deny(SYS_getgid, SECCOMP_RET_ERRNO | 3, SECCOMP_FILTER_FLAG_TSYNC));
	show("getgid", syscall(SYS_getgid));
	finish();
	/* Nobody is behind any more. */
	show("again", deny(SYS_getegid, SECCOMP_RET_ERRNO | 4, SECCOMP_FILTER_FLAG_TSYNC));
	return 0;
}

/* One has a filter that the caller has not. */
static int diverged(int socket)
{
	start(1);
	lowest = dup(0);
	close(lowest);
	show("all", listen_on(SYS_getppid, SECCOMP_FILTER_FLAG_TSYNC | ESRCH_TOO));
	first_free("all");
	show("once more", listen_on(SYS_getppid, SECCOMP_FILTER_FLAG_TSYNC | ESRCH_TOO));
	first_free("once more");
	int listener = listen_on(SYS_getppid, 0);
	show("own", listener == lowest);
	send_fd(socket, listener);
	show("second", listen_on(SYS_getuid, SECCOMP_FILTER_FLAG_TSYNC | ESRCH_TOO));
	close(listener);
	show("tsync", deny(SYS_getgid, SECCOMP_RET_ERRNO | 3, SECCOMP_FILTER_FLAG_TSYNC | ESRCH_TOO));
	show("tid", deny(SYS_getgid, SECCOMP_RET_ERRNO | 3, SECCOMP_FILTER_FLAG_TSYNC) > 0);
	show("getgid", syscall(SYS_getgid) < 0);
	finish();
	show("caller", syscall(SYS_getppid, 5, 7));
	return 0;
}

/* A fork of another thread at any time has the filter, or has it not; it never hangs. */
static void *forks(void *arg)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			_exit(syscall(SYS_getppid, 0, 7) == 1000 ? 1 : 2);
		waitpid(pid, &status, 0);
		if (WEXITSTATUS(status) != 1 && WEXITSTATUS(status) != 2)
			printf("child: %x\n", status);
	}
	return NULL;
}

static int while_forking(int socket)
{
	pthread_t other;

	pthread_create(&other, NULL, forks, NULL);
	int listener = listen_on(SYS_getppid, SECCOMP_FILTER_FLAG_TSYNC | ESRCH_TOO);
	send_fd(socket, listener);
	close(listener);
	for (int i = 0; i < 5; i++)
		show("tsync", deny(SYS_getgid, SECCOMP_RET_ERRNO | 3, SECCOMP_FILTER_FLAG_TSYNC));
	pthread_join(other, NULL);
	return 0;
}

static void supervise(const char *what, int (*body)(int), int count)
{
	int sockets[2], output = memfd_create("output", MFD_CLOEXEC), status, asked = 0;
	char text[4096];
	struct seccomp_notif notif;

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		parent = getppid();
		dup2(output, 1);
		no_new_privs();
		status = body(sockets[1]);
		fflush(stdout);
		_exit(status);
	}
	int listener = receive_fd(sockets[0]);
	struct pollfd polled = { .fd = listener, .events = POLLIN };
	while (poll(&polled, 1, -1) == 1 && !(polled.revents & POLLHUP)) {
		uint64_t id = receive(listener, &notif);
		if ((id & 0xffffffff) == 0xe)
			continue;
		asked++;
		answer(listener, id, 1000 + notif.data.args[0], 0, 0);
	}
	waitpid(pid, &status, 0);
	lseek(output, 0, SEEK_SET);
	text[read(output, text, sizeof text - 1)] = 0;
	printf("%s\n%starget ended: %x\n", what, text, status);
	if (count)
		printf("asked: %d\n", asked);
	close(listener);
}

int main(void)
{
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	supervise("together", together, 1);
	supervise("later", later, 1);
	supervise("diverged", diverged, 1);
	supervise("while forking", while_forking, 0);
	return 0;
}
