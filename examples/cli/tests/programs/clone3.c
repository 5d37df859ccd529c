/* clone3(2) with good and bad arguments, and what parent and child have afterwards. */
#include "common.h"

#include <linux/sched.h>
#include <sched.h>

#define NR_CLONE3 435
#define KEPT 0x5eed1234L

static void refused(const char *what, const void *args, size_t size)
{
	show(what, syscall(NR_CLONE3, args, size));
}

/* Signals that are blocked and pending, in words. */
static void show_signals(const char *who)
{
	sigset_t blocked, pending;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	sigpending(&pending);
	printf("%s:", who);
	for (int signal = 1; signal < 32; signal++)
		if (sigismember(&blocked, signal))
			printf(" %d%s", signal, sigismember(&pending, signal) ? " waits" : "");
	printf("\n");
	fflush(stdout);
}

/* Whether a register that no call has an argument in, and the code segment, are the same behind the call. */
static long kept(const struct clone_args *args, int *same)
{
	long result = NR_CLONE3;
	unsigned short before, after;

	__asm__ volatile("mov %%cs, %0" : "=r"(before));
#ifdef __x86_64__
	register long r15 __asm__("r15") = KEPT;
	__asm__ volatile("syscall"
			 : "+a"(result), "+r"(r15)
			 : "D"(args), "S"(sizeof(*args))
			 : "rcx", "r11", "memory");
	*same = r15 == KEPT;
#else
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(args), "c"(sizeof(*args)) : "memory");
	*same = 1;
#endif
	__asm__ volatile("mov %%cs, %0" : "=r"(after));
	*same &= before == after;
	return result;
}

static void made(const char *what, uint64_t flags)
{
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
	int same, status;

	fflush(stdout);
	long child = kept(&args, &same);
	if (child == 0) {
		show_signals("child");
		_exit(same ? 7 : 8);
	}
	if (child < 0) {
		printf("%s: %s\n", what, strerror(-child));
		return;
	}
	waitpid(child, &status, 0);
	printf("%s: same %d, status %#x\n", what, same, status);
	show_signals("parent");
}

int main(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	char large[8192] = { 0 };
	sigset_t set;

	refused("null", NULL, sizeof(args));
	refused("no memory", (void *)16, sizeof(args));
	refused("too small", &args, 8);
	refused("small and no memory", NULL, 8);
	refused("too large", large, sizeof(large));
	args.flags = CLONE_THREAD;
	refused("thread without memory", &args, sizeof(args));
	args.flags = 1;
	refused("a signal in the flags", &args, sizeof(args));

	made("fork", 0);
	made("clear handlers", 0x100000000ULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	made("blocked", 0);
	made("vfork", CLONE_VFORK);
	return 0;
}
