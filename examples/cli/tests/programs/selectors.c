/*
 * Loads segment registers with what a program may load and ptrace(2) does not take back, and makes calls of which each
 * is carried out in another way.
 */
#include "common.h"

#include <linux/sched.h>
#include <sys/auxv.h>

static void handler(int signal, siginfo_t *info, void *context)
{
	printf("signal %d of call %d\n", signal, info->si_syscall - (int)SYS_getpgrp);
}

static void calls(const char *what)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	int status;

	show(what, syscall(SYS_getppid));
	sigaction(SIGSYS, &action, NULL);
	syscall(SYS_getpgrp);
	if (fork() == 0)
		_exit(syscall(SYS_getppid) == -1 ? 3 : 4);
	wait(&status);
	show("fork", status);
	if (syscall(SYS_clone3, &args, sizeof(args)) == 0)
		_exit(syscall(SYS_getppid) == -1 ? 5 : 6);
	wait(&status);
	show("clone3", status);
	show("listener", deny(SYS_getsid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER) > 0);
	show("kill", deny(SYS_getsid, SECCOMP_RET_KILL_PROCESS, 0));
	syscall(SYS_getsid, 0);
}

#define IN_CHILD(what, ...)                                                                                            \
	do {                                                                                                           \
		int status;                                                                                            \
		fflush(stdout);                                                                                        \
		if (fork() == 0) {                                                                                     \
			__asm__ volatile(__VA_ARGS__);                                                                 \
			calls(what);                                                                                   \
			_exit(0);                                                                                      \
		}                                                                                                      \
		wait(&status);                                                                                         \
		show(what, WIFSIGNALED(status) ? WTERMSIG(status) : -1);                                               \
	} while (0)

int main(void)
{
	/* The segment of data, without the user's privilege. */
	unsigned short data;

	__asm__("mov %%ss, %0" : "=r"(data));
	data &= ~3;
	no_new_privs();
	if (deny(SYS_getppid, SECCOMP_RET_ERRNO | 55, 0) || deny(SYS_getpgrp, SECCOMP_RET_TRAP, 0))
		return 1;
	IN_CHILD("ds", "mov %0, %%ds" ::"r"(data));
	IN_CHILD("es", "mov %0, %%es" ::"r"(data));
#ifdef __x86_64__
	IN_CHILD("gs", "mov %0, %%gs" ::"r"(data));
	/* A base that is not the user's. */
	if (getauxval(AT_HWCAP2) & 2)
		IN_CHILD("base of gs", "wrgsbase %0" ::"r"(-4096L));
#else
	IN_CHILD("fs", "mov %0, %%fs" ::"r"(data));
#endif
	return 0;
}
