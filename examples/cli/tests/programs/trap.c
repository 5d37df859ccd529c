/* RET TRAP: what the handler sees, what it can return, what a blocked or ignored signal does. */
#include "common.h"
#include <ucontext.h>

static void handler(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;

#ifdef __x86_64__
	long result = regs[REG_RAX];
	long ip = regs[REG_RIP];
	regs[REG_RAX] = 4711;
#else
	long result = regs[REG_EAX];
	long ip = regs[REG_EIP];
	regs[REG_EAX] = 4711;
#endif
	printf("signal %d code %d errno %d syscall %d arch %x addr %d register %ld\n", signal, info->si_code,
	       info->si_errno, info->si_syscall, info->si_arch, (long)info->si_call_addr == ip, result);
}

static void in_child(const char *what, int ignore, int block)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGSYS);
		if (ignore)
			signal(SIGSYS, SIG_IGN);
		if (block)
			sigprocmask(SIG_BLOCK, &set, NULL);
		show("not reached", syscall(SYS_getpriority, 0, 0));
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	printf("%s: signal %d exit %d\n", what, WTERMSIG(status), WEXITSTATUS(status));
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGSYS, &action, NULL);
	no_new_privs();
	show("install", deny(SYS_getpriority, SECCOMP_RET_TRAP | 0x1234, 0));
	for (int i = 0; i < 3; i++)
		show("trapped", syscall(SYS_getpriority, 0, 0));
	in_child("ignored", 1, 0);
	in_child("blocked", 0, 1);
	in_child("both", 1, 1);
	signal(SIGSYS, SIG_DFL);
	in_child("default", 0, 0);
	return 0;
}
