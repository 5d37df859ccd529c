/* Installs filters from files of raw bytes, the first with the flag that has it logged, says "ready", and waits until
 * nobody can write to its standard input any more. Prints how often it got SIGUSR1. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int signals;

static void handler(int signal)
{
	(void)signal;
	signals++;
}

int main(int argc, char **argv)
{
	static struct sock_filter insns[4096];

	signal(SIGUSR1, handler);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "r");
		struct sock_fprog program = { fread(insns, sizeof(insns[0]), 4096, file), insns };
		unsigned flags = i == 1 ? SECCOMP_FILTER_FLAG_LOG : 0;
		fclose(file);
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program))
			return 1;
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &(char){ 0 }, 1) != 0)
		;
	printf("%d\n", signals);
	return 0;
}
