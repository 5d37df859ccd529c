/* What the test programs share. They print what they see; a test runs each on the host and under `run`, and
 * compares. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ON(nr, value) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, value)
#define ALWAYS(value) BPF_STMT(BPF_RET | BPF_K, value)

#define FPROG(insns) \
	{ .len = sizeof(insns) / sizeof *(insns), .filter = (insns) }

static inline void no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		perror("no_new_privs");
}

/* A filter that answers one call with `value` and allows the rest. */
static inline int deny(long nr, uint32_t value, unsigned flags)
{
	struct sock_filter insns[] = { LOAD(nr), ON(nr, value), ALWAYS(SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = FPROG(insns);

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static inline void show(const char *what, long result)
{
	printf("%s: %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
	fflush(stdout);
}
