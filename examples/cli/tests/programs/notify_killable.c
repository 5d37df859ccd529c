/* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: what ends a call that a supervisor has received, and what does not. */
#include "notify.h"
#include <sys/resource.h>

#define KILLABLE SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define CALL SYS_getppid

static int to_ignore, to_block;

static void handler(int signal)
{
	printf("handled %d\n", signal);
}

static int asks(int socket)
{
	struct sigaction action = { .sa_handler = handler };
	struct rlimit none = { 0, 0 };
	sigset_t blocked;

	/* No core files. */
	setrlimit(RLIMIT_CORE, &none);
	sigaction(SIGUSR2, &action, NULL);
	sigemptyset(&blocked);
	if (to_ignore)
		signal(to_ignore, SIG_IGN);
	if (to_block) {
		sigaddset(&blocked, to_block);
		sigprocmask(SIG_BLOCK, &blocked, NULL);
	}
	show("answered", syscall(CALL, 1, 2));
	return 3;
}

/* The target gets `signal` while it waits for an answer. If it `lives`, it gets the answer, and then nothing
 * may have been lost. */
static void received(const char *what, int signal, int lives)
{
	struct target t = target(CALL, KILLABLE, asks);
	uint64_t id = receive_from(&t);

	kill(t.pid, signal);
	printf("%s, ", what);
	if (lives) {
		usleep(100000);
		printf("valid %d, ", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
		printf("answer %d, ", answer(t.listener, id, 5, 0, 0));
	}
	ended(&t);
	printf("valid %d", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
	show(", too late", answer(t.listener, id, 1, 0, 0));
	ready("ended", t.listener, 0);
	close(t.listener);
}

static void *asks_too(void *call)
{
	return (void *)syscall((long)call, 1, 2);
}

static int threads_ask(int socket)
{
	pthread_t thread;

	pthread_create(&thread, NULL, asks_too, (void *)CALL);
	syscall(CALL, 1, 2);
	return 3;
}

/* One waits for an answer, the other for nothing. */
static int first_asks(int socket)
{
	pthread_t thread;

	pthread_create(&thread, NULL, asks_too, (void *)SYS_pause);
	syscall(CALL, 1, 2);
	return 3;
}

static int second_asks(int socket)
{
	pthread_t thread;

	pthread_create(&thread, NULL, asks_too, (void *)CALL);
	pause();
	return 3;
}

static void threads(const char *what, int (*body)(int), int requests, int signal)
{
	struct target t = target(CALL, KILLABLE, body);
	struct seccomp_notif notif;

	for (int i = 0; i < requests; i++)
		receive(t.listener, &notif);
	printf("%s, ", what);
	fflush(stdout);
	kill(t.pid, signal);
	ended(&t);
	close(t.listener);
}

static int alarmed(int socket)
{
	alarm(1);
	syscall(CALL, 1, 2);
	return 3;
}

/* Who receives is another than who has the listener in the end. */
static void handed_on(void)
{
	struct target t = target(CALL, KILLABLE, asks);
	int status;

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		receive_from(&t);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	int moved = fcntl(t.listener, F_DUPFD, 100);
	close(t.listener);
	kill(t.pid, SIGTERM);
	printf("handed on, ");
	ended(&t);
	close(moved);
}

/* It has been answered before, and waits again. */
static int asks_often(int socket)
{
	for (int i = 0; i < 5; i++)
		show("answered", syscall(CALL, 1, 2));
	return 3;
}

static void later(void)
{
	struct target t = target(CALL, KILLABLE, asks_often);

	for (int i = 0; i < 3; i++)
		answer(t.listener, receive_from(&t), i, 0, 0);
	receive_from(&t);
	printf("later, ");
	kill(t.pid, SIGHUP);
	ended(&t);
	close(t.listener);
}

int main(void)
{
	received("SIGTERM", SIGTERM, 0);
	received("SIGINT", SIGINT, 0);
	received("SIGUSR1", SIGUSR1, 0);
	received("real-time", SIGRTMIN + 3, 0);
	received("SIGKILL", SIGKILL, 0);
	/* It waits on where there would be a core file, */
	received("SIGQUIT", SIGQUIT, 1);
	received("SIGSEGV", SIGSEGV, 1);
	/* and where it does not die. */
	received("SIGCHLD", SIGCHLD, 1);
	received("handled", SIGUSR2, 1);
	to_ignore = SIGTERM;
	received("ignored", SIGTERM, 1);
	to_ignore = 0;
	to_block = SIGTERM;
	received("blocked", SIGTERM, 1);
	to_block = 0;
	threads("both", threads_ask, 2, SIGTERM);
	threads("the first", first_asks, 1, SIGTERM);
	threads("the second", second_asks, 1, SIGTERM);
	threads("alarm", alarmed, 1, 0);
	handed_on();
	later();
	return 0;
}
