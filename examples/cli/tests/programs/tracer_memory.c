/*
 * Tries to reach the memory of its parent, which is with `run` who traces it. Prints what the host lets it do, by each way.
 * Root does not trace it, for then each would wait for the other.
 */
#include "common.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* What nobody maps: a fault there, EFAULT, tells as well that the memory could be reached. */
#define SOMEWHERE 16

static void reached(const char *how, long result)
{
	int may = result >= 0 || errno == EFAULT || errno == EIO;

	printf("%s: %s\n", how, may ? "yes" : strerror(errno));
	fflush(stdout);
}

static long opened(const char *file, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", getppid(), file);
	return open(path, flags);
}

int main(void)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { (void *)SOMEWHERE, 1 };

	reached("process_vm_readv", process_vm_readv(getppid(), &local, 1, &remote, 1, 0));
	reached("process_vm_writev", process_vm_writev(getppid(), &local, 1, &remote, 1, 0));
	reached("mem for reading", opened("mem", O_RDONLY));
	reached("mem for writing", opened("mem", O_RDWR));
	reached("maps", opened("maps", O_RDONLY));
	reached("environ", opened("environ", O_RDONLY));
	if (getuid() != 0)
		reached("ptrace", ptrace(PTRACE_SEIZE, getppid(), 0, 0));
	return 0;
}
