/* User notification: a supervisor, in the same descriptors, and its targets. */
#include "toy.h"

struct notif {
	uint64_t id;
	uint32_t pid, flags;
	struct seccomp_data data;
};
struct response {
	uint64_t id;
	int64_t val;
	int32_t error;
	uint32_t flags;
};
struct addfd {
	uint64_t id;
	uint32_t flags, srcfd, newfd, newfd_flags;
};
struct pollfd {
	int fd;
	short events, revents;
};
enum { RECV = 0xc0502100, SEND = 0xc0182101, ID_VALID = 0x40082102, ADDFD = 0x40182103, SET_FLAGS = 0x40082104 };
enum { CONTINUE = 1, SETFD = 1, ADDFD_SEND = 2 };
enum { IN = 1, OUT = 4, HUP = 16 };

/* A target shares its parent's descriptors, so the listener is there for both; where, it says by a pipe. */
static int target_pipe[2];
static long target_pid;

static long listen_in_child(long nr, unsigned flags, void (*body)(void))
{
	int listener = -1;

	call(SYS_pipe2, target_pipe, 0);
	target_pid = fork_with(CLONE_FILES);
	if (target_pid == 0) {
		listener = (int)on_call(nr, RET_USER_NOTIF, NEW_LISTENER | flags);
		call(SYS_write, target_pipe[1], &listener, sizeof listener);
		body();
		quit(0);
	}
	call(SYS_read, target_pipe[0], &listener, sizeof listener);
	return listener;
}

static void target_ended(void)
{
	print("target: status %x\n", (long)wait_for(target_pid));
	call(SYS_close, target_pipe[0]);
	call(SYS_close, target_pipe[1]);
}

static long ready(long listener, long milliseconds)
{
	struct pollfd polled = { (int)listener, IN | OUT, 0 };
	long time[2] = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	call(SYS_ppoll, &polled, 1, milliseconds < 0 ? 0 : time, 0, 8);
	return polled.revents;
}

static uint64_t receive(long listener)
{
	struct notif notif = { 0 };

	long result = call(SYS_ioctl, listener, RECV, &notif);
	if (result < 0) {
		show("receive", result);
		return 0;
	}
	print("received: own call %d of target %d flags %x machine %d arguments %x %x\n",
	      (long)(notif.data.nr == SYS_getppid), (long)(notif.pid == target_pid), (long)notif.flags,
	      (long)(notif.data.arch == AUDIT_ARCH), notif.data.args[0], notif.data.args[1]);
	return notif.id;
}

static long answer(long listener, uint64_t id, long val, int error, unsigned flags)
{
	struct response response = { id, val, error, flags };
	return call(SYS_ioctl, listener, SEND, &response);
}

static void calls(void)
{
	show("value", call(SYS_getppid, 1, 0xfedcba98));
	show("error", call(SYS_getppid, 2));
	show("odd error", call(SYS_getppid, 3));
	show("continued", call(SYS_getppid, 4) > 0);
	show("not asked", call(SYS_getpid) > 0);
}

static void answers(void)
{
	long listener = listen_in_child(SYS_getppid, 0, calls);

	answer(listener, receive(listener), 4711, 0, 0);
	answer(listener, receive(listener), 0, -18, 0);
	answer(listener, receive(listener), 5, -77777, 0);
	answer(listener, receive(listener), 0, 0, CONTINUE);
	target_ended();
	print("ready: %x\n", ready(listener, -1));
	receive(listener);
	call(SYS_close, listener);
}

static void one_call(void)
{
	show("answered", call(SYS_getppid));
}

static void refusals(void)
{
	long listener = listen_in_child(SYS_getppid, 0, one_call);
	struct notif notif = { .pid = 1 };
	uint64_t id;

	print("ready: %x\n", ready(listener, -1));
	show("not zero", call(SYS_ioctl, listener, RECV, &notif));
	show("no memory", call(SYS_ioctl, listener, RECV, 8));
	show("too early", answer(listener, 0, 0, 0, 0));
	id = receive(listener);
	print("ready: %x\n", ready(listener, 0));
	show("valid", call(SYS_ioctl, listener, ID_VALID, &id));
	id++;
	show("another", call(SYS_ioctl, listener, ID_VALID, &id));
	id--;
	show("flags", answer(listener, id, 0, 0, 2));
	show("continue with value", answer(listener, id, 1, 0, CONTINUE));
	show("no memory", call(SYS_ioctl, listener, SEND, 8));
	show("no ioctl", call(SYS_ioctl, listener, 0x1234, 0));
	show("set flags", call(SYS_ioctl, listener, SET_FLAGS, 1));
	show("unknown flags", call(SYS_ioctl, listener, SET_FLAGS, 2));
	show("no listener", call(SYS_ioctl, 1, RECV, &notif));
	show("no descriptor", call(SYS_ioctl, 60, RECV, &notif));
	long answered = answer(listener, id, 12, 0, 0);
	target_ended();
	show("answer", answered);
	show("gone", answer(listener, id, 12, 0, 0));
	call(SYS_close, listener);
}

static void closed(void)
{
	long listener = listen_in_child(SYS_getppid, 0, one_call);

	receive(listener);
	call(SYS_close, listener);
	target_ended();
}

static void two_listeners(void)
{
	show("second", on_call(SYS_getuid, RET_USER_NOTIF, NEW_LISTENER));
	show("stricter", on_call(SYS_getppid, RET_ERRNO | 9, 0));
	one_call();
}

static void stacked(void)
{
	long listener = listen_in_child(SYS_getppid, 0, two_listeners);

	target_ended();
	call(SYS_close, listener);
}

static void handler(int signal, struct siginfo *info, uint64_t *context)
{
	print("handled\n");
}

static void interrupted_call(void)
{
	handle(SIGUSR1, handler, 0);
	one_call();
	handle(SIGUSR1, handler, SA_RESTART);
	one_call();
}

/* A signal takes a request back; with SA_RESTART there is a new one. */
static void interrupted(void)
{
	long listener = listen_in_child(SYS_getppid, 0, interrupted_call);
	uint64_t id = receive(listener);

	call(SYS_kill, target_pid, SIGUSR1);
	long valid;
	while ((valid = call(SYS_ioctl, listener, ID_VALID, &id)) == 0)
		call(SYS_sched_yield);
	/* What the target prints comes before its next call. */
	uint64_t next = receive(listener);
	show("taken back", valid);
	print("next: %d\n", (long)(next - id));
	call(SYS_kill, target_pid, SIGUSR1);
	id = receive(listener);
	print("next: %d\n", (long)(id - next));
	long answered = answer(listener, id, 77, 0, 0);
	target_ended();
	show("answer", answered);
	call(SYS_close, listener);
}

static void killed(void)
{
	long listener = listen_in_child(SYS_getppid, WAIT_KILLABLE_RECV, one_call);
	uint64_t id = receive(listener);

	call(SYS_kill, target_pid, SIGKILL);
	target_ended();
	show("gone", answer(listener, id, 0, 0, 0));
	print("ready: %x\n", ready(listener, 0));
	call(SYS_close, listener);
}

static void reads(void)
{
	char text[16] = { 0 };

	long fd = call(SYS_getppid);
	show("read", call(SYS_read, fd, text, sizeof text - 1));
	print("%s\n", text);
}

/* The target gets a file, as the answer. */
static void gives(void)
{
	long listener = listen_in_child(SYS_getppid, 0, reads);
	struct addfd addfd = { .srcfd = 63, .flags = ADDFD_SEND };
	int fds[2];

	call(SYS_pipe2, fds, 0);
	call(SYS_write, fds[1], "from afar", 9);
	addfd.id = receive(listener);
	show("no file", call(SYS_ioctl, listener, ADDFD, &addfd));
	addfd.srcfd = (uint32_t)fds[0];
	addfd.newfd = 40;
	show("unasked", call(SYS_ioctl, listener, ADDFD, &addfd));
	addfd.flags = SETFD;
	show("at 40", call(SYS_ioctl, listener, ADDFD, &addfd));
	long answered = answer(listener, addfd.id, 40, 0, 0);
	target_ended();
	show("answer", answered);
	call(SYS_close, 40);
	call(SYS_close, fds[0]);
	call(SYS_close, fds[1]);
	call(SYS_close, listener);
}

/* A thread supervises its own process. */
static struct thread target_thread;
static volatile int listener_of_thread;

static void listens(void *unused)
{
	long listener = on_call(SYS_getppid, RET_USER_NOTIF, NEW_LISTENER);

	signal_to(&listener_of_thread, (int)listener);
	show("thread", call(SYS_getppid, 5, 6));
}

static void of_a_thread(void)
{
	int now;

	start(&target_thread, listens, 0);
	while ((now = listener_of_thread) == 0)
		futex(&listener_of_thread, 0, 0);
	target_pid = target_thread.tid;
	answer(now, receive(now), 88, 0, 0);
	join(&target_thread);
	print("ready: %x\n", ready(now, -1));
}

int main(int argc, char **argv)
{
	answers();
	refusals();
	closed();
	stacked();
	interrupted();
	killed();
	gives();
	in_child("of a thread", of_a_thread);
	return 0;
}
