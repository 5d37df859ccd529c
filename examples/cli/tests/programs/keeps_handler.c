/*
 * Processes that are to die of a filter, and have a handler of SIGSYS that goes on for ever. Another thread writes into
 * the vDSO's ELF header, in which the default action can be found as long as nobody writes there.
 */
#include "common.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define ROUNDS 40

#ifdef __x86_64__
#define SA_RESTORER 0x04000000
#endif

static volatile int *lives;

static void handler(int signal)
{
	*lives = 1;
	for (;;)
		;
}

static void *toggle(void *unused)
{
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
	/* Where e_ident has nothing. */
	volatile uintptr_t *action = (uintptr_t *)(vdso + EI_PAD - 1);

	/* Only all of it can be made writable. */
	for (size_t size = PAGE; mprotect(vdso, size, PROT_READ | PROT_WRITE | PROT_EXEC); size += PAGE)
		if (size > 16 * PAGE)
			_exit(2);
#ifdef __x86_64__
	action[1] = SA_RESTORER;
	action[2] = (uintptr_t)handler;
#endif
	for (;;) {
		action[0] = (uintptr_t)handler;
		action[0] = 0;
	}
}

static void dies(void)
{
	pthread_t thread;

	signal(SIGSYS, handler);
	if (deny(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0))
		_exit(1);
	pthread_create(&thread, NULL, toggle, NULL);
	usleep(2000);
	getppid();
	_exit(0);
}

int main(void)
{
	no_new_privs();
	lives = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int round = 0; round < ROUNDS; round++) {
		int status;
		pid_t child = fork();

		if (child == 0)
			dies();
		*lives = 0;
		while (waitpid(child, &status, WNOHANG) == 0) {
			usleep(100);
			if (*lives)
				kill(child, SIGKILL);
		}
		if (!WIFSIGNALED(status) || *lives)
			printf("lives\n");
	}
	printf("done\n");
	return 0;
}
