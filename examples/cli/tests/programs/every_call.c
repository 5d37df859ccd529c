// Makes every system call with arguments by chance, none of which runs, and tells what they were.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRUTH 777
#define LAST 600
#define BUFFER 0x20000000

static unsigned long long state;

static unsigned next(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return state >> 33;
}

static unsigned long any(void)
{
	static const unsigned long values[] = {0xffffffff, 0xffffff9c, 0, 1, 2, 3, 0x80000, 0x10000000, 0x7fffffff};

	switch (next() % 6) {
	case 0:
		return values[next() % (sizeof values / sizeof *values)];
	case 1:
		return BUFFER + next() % 16 * 64;
	case 2:
		return next() % 4096;
	case 3:
		return 1u << next() % 32 | 1u << next() % 32;
	case 4:
		return next();
	default:
		return next() % 64;
	}
}

int main(int argc, char **argv)
{
	int rounds = atoi(argv[1]);
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TRUTH, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 38),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	size_t size = (size_t)rounds * LAST * 128, len = 0;
	char *truth = malloc(size);

	state = atoll(argv[2]);
	if (argc != 3 || !truth || dup2(1, TRUTH) < 0)
		return 1;
	if (mmap((void *)BUFFER, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return 1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 1;
	for (int round = 0; round < rounds; round++) {
		for (int nr = 0; nr < LAST; nr++) {
			unsigned long a[6];

			for (int i = 0; i < 6; i++)
				a[i] = any();
			// The kernel's own calls for probes, which no filter sees.
			if (sizeof(long) == 8 && (nr == 335 || nr == 336))
				continue;
			syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			len += snprintf(truth + len, size - len, "%d %lx %lx %lx %lx %lx %lx\n", nr, a[0], a[1], a[2],
					a[3], a[4], a[5]);
		}
	}
	for (size_t at = 0; at < len;) {
		ssize_t written = write(TRUTH, truth + at, len - at);

		if (written <= 0)
			return 1;
		at += written;
	}
	syscall(SYS_exit_group, TRUTH);
}
