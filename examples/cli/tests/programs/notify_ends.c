/* Calls that wait for a supervisor and end otherwise: by signals, by death. */
#include "notify.h"

static int caught;

static void handler(int signal)
{
	caught++;
}

static void handle(int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigaction(SIGUSR1, &action, NULL);
}

static int interrupted(int socket)
{
	handle(0);
	for (int i = 0; i < 2; i++) {
		show("interrupted", syscall(SYS_getppid, 1, 2));
		printf("caught %d\n", caught);
		tell(socket);
	}
	handle(SA_RESTART);
	show("restarted", syscall(SYS_getppid, 1, 2));
	printf("caught %d\n", caught);
	return 0;
}

static void signals(unsigned flags)
{
	struct target t = target(SYS_getppid, flags, interrupted);
	uint64_t id, other;

	/* Before it is received, */
	wait_for(t.listener, POLLIN);
	kill(t.pid, SIGUSR1);
	told(t.socket);
	/* after, */
	id = receive_from(&t);
	kill(t.pid, SIGUSR1);
	if (flags) {
		show("valid", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
		show("answer", answer(t.listener, id, 1, 0, 0));
	}
	told(t.socket);
	show("valid", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
	/* and when it is made again. */
	id = other = receive_from(&t);
	kill(t.pid, SIGUSR1);
	if (!flags) {
		other = receive_from(&t);
		printf("another id: %d\n", other == id + 1);
		show("valid", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
		show("too late", answer(t.listener, id, 1, 0, 0));
	}
	show("answer", answer(t.listener, other, 2, 0, 0));
	ended(&t);
	close(t.listener);
}

static int waits(int socket)
{
	show("never", syscall(SYS_getppid, 1, 2));
	return 1;
}

static void killed(unsigned flags)
{
	struct target t = target(SYS_getppid, flags, waits);
	struct seccomp_notif notif;
	uint64_t id = receive_from(&t);

	kill(t.pid, SIGKILL);
	ended(&t);
	show("valid", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
	show("answer", answer(t.listener, id, 1, 0, 0));
	ready("dead", t.listener, 0);
	printf("receive: %llx\n", (unsigned long long)receive(t.listener, &notif));
	close(t.listener);
	t = target(SYS_getppid, flags, waits);
	wait_for(t.listener, POLLIN);
	kill(t.pid, SIGTERM);
	ended(&t);
	ready("dead before", t.listener, 0);
	close(t.listener);
}

/* A supervisor that waits to receive while the last user ends. */
static int ends(int socket)
{
	return 4;
}

static void nobody_left(void)
{
	struct target t = target(SYS_getppid, 0, ends);
	struct seccomp_notif notif;

	printf("receive: %llx\n", (unsigned long long)receive(t.listener, &notif));
	ready("nobody", t.listener, -1);
	ended(&t);
	close(t.listener);
}

/* The filter has users as long as a child lives. */
static int leaves_child(int socket)
{
	if (fork() == 0) {
		told(socket);
		show("child", syscall(SYS_getppid, 1, 2));
		fflush(stdout);
		tell(socket);
		told(socket);
	}
	return 0;
}

static void users(void)
{
	struct target t = target(SYS_getppid, 0, leaves_child);
	int status;

	waitpid(t.pid, &status, 0);
	ready("a child is left", t.listener, 0);
	tell(t.socket);
	struct seccomp_notif notif;
	uint64_t id = receive(t.listener, &notif);
	show("answer", answer(t.listener, id, 11, 0, 0));
	told(t.socket);
	tell(t.socket);
	ready("nobody", t.listener, -1);
	printf("receive: %llx\n", (unsigned long long)receive(t.listener, &notif));
	close(t.listener);
}

int main(void)
{
	killed(0);
	killed(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	nobody_left();
	users();
	signals(0);
	signals(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	return 0;
}
