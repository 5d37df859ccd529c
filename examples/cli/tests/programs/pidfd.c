/* Once poll(2) says of a pidfd that the process has ended, waiting for it does not wait. */
#include "common.h"
#include <poll.h>
#include <sys/syscall.h>

#define ROUNDS 300

static void *nothing(void *unused)
{
	return unused;
}

static void ends(void)
{
}

static void ends_with_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(threads + i, NULL, nothing, NULL);
}

static void ends_by_another(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, nothing, NULL);
	syscall(SYS_exit, 0);
}

static void is_killed(void)
{
	kill(getpid(), SIGKILL);
}

static void executes(void)
{
	execl("/bin/true", "true", NULL);
}

static int wait_pid(pid_t pid, int pidfd)
{
	return waitpid(pid, NULL, WNOHANG) == pid;
}

static int wait_any(pid_t pid, int pidfd)
{
	return waitpid(-1, NULL, WNOHANG) == pid;
}

static int wait_pidfd(pid_t pid, int pidfd)
{
	siginfo_t info = { 0 };

	return waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == pid;
}

static void rounds(const char *what, void (*body)(void), int (*wait)(pid_t, int))
{
	int found = 0;

	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			body();
			_exit(0);
		}
		int pidfd = syscall(SYS_pidfd_open, pid, 0);
		struct pollfd polled = { .fd = pidfd, .events = POLLIN };
		poll(&polled, 1, -1);
		if (wait(pid, pidfd))
			found++;
		else
			waitpid(pid, NULL, 0);
		close(pidfd);
	}
	printf("%s: %d of %d\n", what, found, ROUNDS);
	fflush(stdout);
}

int main(void)
{
	rounds("by its id", ends, wait_pid);
	rounds("by any", ends, wait_any);
	rounds("by the pidfd", ends, wait_pidfd);
	rounds("with threads", ends_with_threads, wait_pid);
	rounds("without its first thread", ends_by_another, wait_pid);
	rounds("killed", is_killed, wait_any);
	rounds("another program", executes, wait_pidfd);
	return 0;
}
