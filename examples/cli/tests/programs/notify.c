/* A supervisor in another process: every answer, every refusal of the ioctls, and what poll says when. */
#include "notify.h"

#define ID_VALID_WRONG_DIR SECCOMP_IOR(2, __u64)
#define SET_FLAGS SECCOMP_IOW(4, __u64)

static int calls(int socket)
{
	show("value", syscall(SYS_dup2, 1000, 2000));
	show("error", syscall(SYS_dup2, -1, -2));
	show("no error", syscall(SYS_dup2, 0, 0));
	show("odd error", syscall(SYS_dup2, 0, 0));
	/* On 32 bits the value is cut. */
	show("large value", syscall(SYS_dup2, 0, 0));
	show("continued", syscall(SYS_dup2, 1, 1));
	show("continued to fail", syscall(SYS_dup2, -1, 1));
	show("not asked", syscall(SYS_getuid));
	return 7;
}

static void answers(void)
{
	struct target t = target(SYS_dup2, 0, calls);

	show("value", answer(t.listener, receive_from(&t), 4711, 0, 0));
	show("error", answer(t.listener, receive_from(&t), 0, -EXDEV, 0));
	show("no error", answer(t.listener, receive_from(&t), 0, 0, 0));
	show("odd error", answer(t.listener, receive_from(&t), 5, -77777, 0));
	show("large value", answer(t.listener, receive_from(&t), 0x123456789, 0, 0));
	show("continued", go_on(t.listener, receive_from(&t)));
	show("continued to fail", go_on(t.listener, receive_from(&t)));
	ended(&t);
	ready("gone", t.listener, -1);
	struct seccomp_notif notif;
	printf("receive: %llx\n", (unsigned long long)receive(t.listener, &notif));
	close(t.listener);
}

static int one_call(int socket)
{
	show("answered", syscall(SYS_getppid, 1, 2));
	return 0;
}

static void valid(const char *when, int listener, uint64_t id)
{
	printf("%s: ", when);
	show("valid", ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
	show("historic", ioctl(listener, ID_VALID_WRONG_DIR, &id));
}

static int two_calls(int socket)
{
	told(socket);
	one_call(socket);
	tell(socket);
	told(socket);
	return one_call(socket);
}

static void refusals(void)
{
	struct target t = target(SYS_getppid, 0, two_calls);
	struct seccomp_notif notif = { .pid = 1 };
	uint64_t id, flags;

	ready("nothing", t.listener, 0);
	show("answer to nobody", answer(t.listener, 1, 0, 0, 0));
	valid("nothing", t.listener, 1);
	tell(t.socket);
	ready("waits", t.listener, -1);
	show("not zero", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_RECV, &notif));
	show("no memory", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_RECV, (void *)8));
	ready("still waits", t.listener, 0);
	id = receive_from(&t);
	ready("received", t.listener, 0);
	valid("received", t.listener, id);
	valid("another", t.listener, id + 1);
	show("flags", answer(t.listener, id, 0, 0, 2));
	show("continue with value", answer(t.listener, id, 1, 0, 1));
	show("continue with error", answer(t.listener, id, 0, -1, 1));
	show("no memory", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_SEND, (void *)8));
	show("no ioctl", ioctl(t.listener, 0x1234, 0));
	for (flags = 0; flags < 3; flags++)
		show("set flags", ioctl(t.listener, SET_FLAGS, (unsigned long)flags));
	show("answer", answer(t.listener, id, 12, 0, 0));
	told(t.socket);
	show("again", answer(t.listener, id, 13, 0, 0));
	valid("answered", t.listener, id);
	tell(t.socket);
	wait_for(t.listener, POLLIN);
	/* Ids go up by one. */
	valid("not received", t.listener, id + 1);
	show("too early", answer(t.listener, id + 1, 0, 0, 0));
	printf("next: %d\n", receive_from(&t) == id + 1);
	show("answer", answer(t.listener, id + 1, 14, 0, 0));
	ended(&t);
	close(t.listener);
}

static int in_turn(int socket)
{
	one_call(socket);
	one_call(socket);
	/* Another may now have one, and both answer for their own calls. */
	show("listener", listen_on(SYS_getuid, 0) >= 0);
	one_call(socket);
	return 0;
}

static void closing(void)
{
	struct target t = target(SYS_getppid, 0, in_turn);

	wait_for(t.listener, POLLIN);
	close(t.listener);
	ended(&t);
	t = target(SYS_getppid, 0, in_turn);
	receive_from(&t);
	close(t.listener);
	ended(&t);
}

static int second_listener(int socket)
{
	show("second", listen_on(SYS_getuid, 0));
	show("filter without", deny(SYS_getuid, SECCOMP_RET_ERRNO | 9, 0));
	show("getuid", syscall(SYS_getuid));
	one_call(socket);
	tell(socket);
	told(socket);
	int listener = listen_on(SYS_getgid, 0);
	show("after closing", listener >= 0);
	show("close-on-exec", fcntl(listener, F_GETFD));
	send_fd(socket, listener);
	close(listener);
	one_call(socket);
	show("getgid", syscall(SYS_getgid, 3, 4));
	return 3;
}

static void one_at_a_time(void)
{
	struct target t = target(SYS_getppid, 0, second_listener);

	show("answer", answer(t.listener, receive_from(&t), 5, 0, 0));
	told(t.socket);
	close(t.listener);
	tell(t.socket);
	t.listener = receive_fd(t.socket);
	show("answer", answer(t.listener, receive_from(&t), 6, 0, 0));
	ended(&t);
	close(t.listener);
}

/* The newest filter among equal ones is asked, and an older answer that is stricter is not. */
static int stack(int socket)
{
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 3, 0);
	show("stricter", syscall(SYS_getppid, 1, 2));
	show("log", deny(SYS_getppid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_LOG));
	show("stricter", syscall(SYS_getppid, 1, 2));
	return 0;
}

static int own_notif(int socket)
{
	/* Equal and newer, but without a listener: nobody is asked. */
	show("filter", deny(SYS_getppid, SECCOMP_RET_USER_NOTIF, 0));
	show("getppid", syscall(SYS_getppid, 1, 2));
	return 0;
}

static void stacks(void)
{
	struct target t = target(SYS_getppid, 0, stack);

	ended(&t);
	close(t.listener);
	t = target(SYS_getppid, 0, own_notif);
	ended(&t);
	close(t.listener);
}

int main(void)
{
	answers();
	refusals();
	closing();
	one_at_a_time();
	stacks();
	return 0;
}
