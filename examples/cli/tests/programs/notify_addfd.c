/* Files that a supervisor puts into its target. */
#include "notify.h"

#define ADDFD_LARGE _IOC(_IOC_READ | _IOC_WRITE, SECCOMP_IOC_MAGIC, 3, 40)
#define ADDFD_SMALL _IOC(_IOC_WRITE, SECCOMP_IOC_MAGIC, 3, 16)
#define ADDFD_NO_DIRECTION _IOC(0, SECCOMP_IOC_MAGIC, 3, 24)

static void use(int fd)
{
	char text[16] = "";

	show("read", pread(fd, text, sizeof text - 1, 0));
	printf("descriptor %d: %s, flags %d\n", fd, text, fcntl(fd, F_GETFD));
}

static int body(int socket)
{
	use(syscall(SYS_getppid, 1, 2));
	use(syscall(SYS_getppid, 1, 2));
	use(200);
	show("closed again", close(200));
	use(syscall(SYS_getppid, 1, 2));
	show("then answered", syscall(SYS_getppid, 1, 2));
	show("limited", syscall(SYS_getppid, 1, 2));
	return 0;
}

static int add(struct target *t, uint64_t id, unsigned flags, int fd, int newfd, unsigned newfd_flags)
{
	struct seccomp_notif_addfd addfd = { id, flags, fd, newfd, newfd_flags };

	return ioctl(t->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd);
}

int main(void)
{
	struct target t = target(SYS_getppid, 0, body);
	int file = memfd_create("file", 0);
	uint64_t id;
	struct {
		struct seccomp_notif_addfd addfd;
		uint64_t more[2];
	} large = { 0 };

	if (write(file, "content", 7) != 7)
		perror("write");
	wait_for(t.listener, POLLIN);
	show("nobody", add(&t, 1, 0, file, 0, 0));
	id = receive_from(&t);
	show("unknown flag", add(&t, id, 4, file, 0, 0));
	show("newfd without SETFD", add(&t, id, 0, file, 5, 0));
	show("newfd_flags", add(&t, id, 0, file, 0, 1));
	show("no file", add(&t, id, 0, 999, 0, 0));
	show("no memory", ioctl(t.listener, SECCOMP_IOCTL_NOTIF_ADDFD, 8));
	large.addfd = (struct seccomp_notif_addfd){ id, 0, file, 0, 0 };
	show("small", ioctl(t.listener, ADDFD_SMALL, &large));
	large.more[1] = 1;
	show("more", ioctl(t.listener, ADDFD_LARGE, &large));
	int fd = add(&t, id, 0, file, 0, 0);
	printf("the lowest: %d\n", fd);
	show("answer", answer(t.listener, id, fd, 0, 0));

	id = receive_from(&t);
	show("into 200", add(&t, id, SECCOMP_ADDFD_FLAG_SETFD, file, 200, O_CLOEXEC));
	show("over it", add(&t, id, SECCOMP_ADDFD_FLAG_SETFD, file, 200, 0));
	large.addfd.id = id;
	large.more[1] = 0;
	fd = ioctl(t.listener, ADDFD_LARGE, &large);
	printf("larger: %d\n", fd);
	large.addfd.newfd_flags = O_CLOEXEC;
	fd = ioctl(t.listener, ADDFD_NO_DIRECTION, &large);
	printf("without direction: %d\n", fd);
	show("answer", answer(t.listener, id, fd, 0, 0));

	id = receive_from(&t);
	fd = add(&t, id, SECCOMP_ADDFD_FLAG_SEND, file, 0, O_CLOEXEC);
	printf("with the answer: %d\n", fd);
	show("answered before", answer(t.listener, id, fd, 0, 0));

	id = receive_from(&t);
	fd = add(&t, id, SECCOMP_ADDFD_FLAG_SEND | SECCOMP_ADDFD_FLAG_SETFD, file, 300, 0);
	printf("into 300 with the answer: %d\n", fd);

	id = receive_from(&t);
	show("beyond the limit", add(&t, id, SECCOMP_ADDFD_FLAG_SETFD, file, 1 << 30, 0));
	show("answer after all", answer(t.listener, id, 1, 0, 0));
	ended(&t);
	show("gone", add(&t, id, 0, file, 0, 0));
	return 0;
}
