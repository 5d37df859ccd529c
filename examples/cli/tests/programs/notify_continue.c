/* Calls that a supervisor lets run, and which then do the most unusual: return twice, never, or elsewhere. */
#define _GNU_SOURCE
#include "notify.h"
#include <sched.h>
#include <sys/wait.h>

static int status_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

static void *thread(void *arg)
{
	printf("thread\n");
	return (void *)(syscall(SYS_getuid) + 5);
}

static int stack[1 << 14];

static int cloned(void *arg)
{
	return *(int *)arg;
}

static volatile int returned;

static void handler(int signal)
{
	returned++;
}

static int everything(int socket)
{
	pthread_t other;
	void *result;
	int five = 5;

	pid_t pid = fork();
	if (pid == 0) {
		/* The child has the filter, and an address to return to. */
		pid = fork();
		if (pid == 0)
			_exit(6);
		_exit(WEXITSTATUS(status_of(pid)) + 1);
	}
	printf("fork: %x\n", status_of(pid));
	pid = vfork();
	if (pid == 0)
		_exit(8);
	printf("vfork: %x\n", status_of(pid));
	pid = clone(cloned, stack + (1 << 13), SIGCHLD | CLONE_VM, &five);
	printf("clone: %x\n", status_of(pid));
	pthread_create(&other, NULL, thread, NULL);
	pthread_join(other, &result);
	printf("thread: %ld\n", (long)result);
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	printf("returned %d\n", returned);
	fflush(stdout);
	show("exec", execl("/no/such/file", "x", NULL));
	pid = fork();
	if (pid == 0)
		execl("/bin/sh", "sh", "-c", "exit $(expr 4 + 5)", NULL);
	printf("shell: %x\n", status_of(pid));
	return 2;
}

/* Everything is asked about. */
static int listen_on_all(void)
{
	/* The descriptor has to be sent unasked, and closed. */
	struct sock_filter insns[] = { LOAD(nr),
				       ON(SYS_sendmsg, SECCOMP_RET_ALLOW),
#ifdef SYS_socketcall
				       ON(SYS_socketcall, SECCOMP_RET_ALLOW),
#endif
				       ON(SYS_close, SECCOMP_RET_ALLOW),
				       ALWAYS(SECCOMP_RET_USER_NOTIF) };
	struct sock_fprog prog = FPROG(insns);

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, LISTENER, &prog);
}

static void supervise(int listener)
{
	struct pollfd polled = { .fd = listener, .events = POLLIN };
	struct seccomp_notif notif;
	int strange = 0;

	while (poll(&polled, 1, -1) == 1 && !(polled.revents & POLLHUP)) {
		uint64_t id = receive(listener, &notif);
		if ((id & 0xffffffff) == 0xe)
			continue;
		strange += notif.data.instruction_pointer >> 48 != 0;
		go_on(listener, id);
	}
	printf("strange addresses: %d\n", strange);
}

int main(void)
{
	int sockets[2], output = memfd_create("output", 0), status;
	char text[4096];

	socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(output, 1);
		no_new_privs();
		int listener = listen_on_all();
		send_fd(sockets[1], listener);
		close(listener);
		status = everything(sockets[1]);
		fflush(stdout);
		exit(status);
	}
	int listener = receive_fd(sockets[0]);
	supervise(listener);
	waitpid(pid, &status, 0);
	lseek(output, 0, SEEK_SET);
	text[read(output, text, sizeof text - 1)] = 0;
	printf("%starget ended: %x\n", text, status);
	return 0;
}
