/* A supervisor and its targets. */
#include "common.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define LISTENER SECCOMP_FILTER_FLAG_NEW_LISTENER
#define ESRCH_TOO SECCOMP_FILTER_FLAG_TSYNC_ESRCH

/* Asks the supervisor about one call and allows the rest. */
static inline int listen_on(long nr, unsigned flags)
{
	return deny(nr, SECCOMP_RET_USER_NOTIF, LISTENER | flags);
}

static inline void send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec data = { "", 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(rights), &fd, sizeof fd);
	sendmsg(socket, &message, 0);
}

static inline int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof control };
	int fd = -1;

	if (recvmsg(socket, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

/* A target with a listener on one call: runs `body`, and its result is its status. */
struct target {
	pid_t pid;
	int listener;
	int socket;
	int output;
};

static inline struct target target(long nr, unsigned flags, int (*body)(int socket))
{
	struct target target;
	int sockets[2];

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets);
	fflush(stdout);
	/* What it prints is told when it has ended. */
	target.output = memfd_create("output", MFD_CLOEXEC);
	target.pid = fork();
	if (target.pid == 0) {
		dup2(target.output, 1);
		close(sockets[0]);
		no_new_privs();
		int listener = listen_on(nr, flags);
		send_fd(sockets[1], listener);
		close(listener);
		int status = body(sockets[1]);
		fflush(stdout);
		_exit(status);
	}
	close(sockets[1]);
	target.socket = sockets[0];
	target.listener = receive_fd(target.socket);
	return target;
}

static inline void ended(struct target *target)
{
	char output[4096];
	ssize_t length;
	int status;

	waitpid(target->pid, &status, 0);
	lseek(target->output, 0, SEEK_SET);
	while ((length = read(target->output, output, sizeof output)) > 0)
		fwrite(output, 1, length, stdout);
	printf("target ended: %x\n", status);
	close(target->output);
	close(target->socket);
}

/* Whether an address is code of a process. */
static inline int is_code(pid_t pid, uint64_t address)
{
	char path[64], line[512], rights[8];
	unsigned long long start, end;
	int is = 0;

	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "r");
	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "%llx-%llx %7s", &start, &end, rights) == 3 && rights[2] == 'x')
			is |= start <= address && address < end;
	if (maps)
		fclose(maps);
	return is;
}

static inline uint64_t receive(int listener, struct seccomp_notif *notif)
{
	memset(notif, 0, sizeof *notif);
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notif) ? (uint64_t)errno << 32 | 0xe : notif->id;
}

static inline void wait_for(int listener, short events)
{
	struct pollfd polled = { .fd = listener, .events = events };

	poll(&polled, 1, -1);
}

/* Receives, and prints what. The result is the id. */
static inline uint64_t receive_from(struct target *target)
{
	struct seccomp_notif notif;

	/* A request that a signal took back wakes who receives, to nothing. */
	wait_for(target->listener, POLLIN);
	uint64_t id = receive(target->listener, &notif);
	printf("received: nr %d of %s, flags %x, code %d, args %llx %llx\n", notif.data.nr,
	       notif.pid == (__u32)target->pid ? "target" : "another", notif.flags,
	       is_code(notif.pid, notif.data.instruction_pointer), (unsigned long long)notif.data.args[0],
	       (unsigned long long)notif.data.args[1]);
	return id;
}

static inline int answer(int listener, uint64_t id, int64_t val, int error, unsigned flags)
{
	struct seccomp_notif_resp response = { .id = id, .val = val, .error = error, .flags = flags };

	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static inline int go_on(int listener, uint64_t id)
{
	return answer(listener, id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* What poll and epoll say, at once or after `timeout` milliseconds. */
static inline void ready(const char *when, int listener, int timeout)
{
	struct pollfd polled = { .fd = listener, .events = POLLIN | POLLOUT };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT }, got = { 0 };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	poll(&polled, 1, timeout);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	epoll_wait(epoll, &got, 1, 0);
	close(epoll);
	printf("%s: poll %x epoll %x\n", when, polled.revents, got.events);
}

static inline void tell(int fd)
{
	if (write(fd, "", 1) != 1)
		perror("tell");
}

static inline int told(int fd)
{
	char byte;

	return read(fd, &byte, 1);
}
