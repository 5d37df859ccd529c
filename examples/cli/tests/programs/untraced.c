/*
 * Tries to make a child that nobody traces: clone3(2) reads its flags from memory in which another thread puts
 * CLONE_UNTRACED and takes it away again. All that such a child could run first, it runs: its own code, or the handler of
 * a signal. Whoever runs without the filter prints "escaped".
 *
 * The argument says who is made, `fork`, `vfork` or `thread`, and by which entry, `native`, `int80` or `x32`.
 */
#include "common.h"

#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>

#define TRIES 20000
#define STACK 65536
#define NR_CLONE3 435
#define X32_BIT 0x40000000
#define DENIED 55

/* In memory that `int 0x80` reaches too. */
static struct clone_args *args;
static char *stack;
static uint64_t flags;

static long raw(long nr, long first, long second, long third)
{
	long result;

#ifdef __x86_64__
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(first), "S"(second), "d"(third)
			 : "rcx", "r11", "memory");
#else
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(first), "c"(second), "d"(third)
			 : "memory");
#endif
	return result;
}

static void check(void)
{
	if (raw(SYS_getppid, 0, 0, 0) != -DENIED)
		raw(SYS_write, 1, (long)"escaped\n", 8);
}

static void handler(int signal)
{
	check();
	if (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGTRAP)
		raw(SYS_exit, 0, 0, 0);
}

static void child(void)
{
	check();
	raw(SYS_exit, 0, 0, 0);
}

/* clone3(2), whose child calls child() on a stack of its own. */
static long birth(const char *entry)
{
	long result = NR_CLONE3;

	if (!strcmp(entry, "x32"))
		result |= X32_BIT;
#ifdef __x86_64__
	if (strcmp(entry, "int80")) {
		__asm__ volatile("syscall; test %%eax, %%eax; jnz 1f; call *%%rbx; 1:"
				 : "+a"(result)
				 : "D"(args), "S"(sizeof(*args)), "b"(child)
				 : "rcx", "r11", "memory");
		return result;
	}
#endif
	__asm__ volatile("int $0x80; test %%eax, %%eax; jnz 1f; call *%3; 1:"
			 : "+a"(result)
			 : "b"(args), "c"(sizeof(*args)), "S"(child)
			 : "memory");
	return result;
}

static void *toggle(void *unused)
{
	for (;;) {
		*(volatile uint64_t *)&args->flags = flags | CLONE_UNTRACED;
		*(volatile uint64_t *)&args->flags = flags;
	}
	return unused;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[1] : "fork", *entry = argc > 2 ? argv[2] : "native";
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART };
	stack_t alternative = { .ss_sp = malloc(STACK), .ss_size = STACK };
	pthread_t thread;

	args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (args == MAP_FAILED || stack == MAP_FAILED)
		return 1;
	no_new_privs();
	if (deny(SYS_getppid, SECCOMP_RET_ERRNO | DENIED, 0))
		return 1;
	sigaltstack(&alternative, NULL);
	for (int signal = 1; signal < 32; signal++)
		if (signal != SIGCHLD && signal != SIGABRT)
			sigaction(signal, &action, NULL);
	signal(SIGCHLD, SIG_IGN);
	if (!strcmp(kind, "thread"))
		flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	else if (!strcmp(kind, "vfork"))
		flags = CLONE_VM | CLONE_VFORK;
	pthread_create(&thread, NULL, toggle, NULL);
	/* Another process sends signals to all of this group. */
	pid_t parent = getpid(), sender = fork();
	if (sender == 0) {
		signal(SIGUSR1, SIG_IGN);
		while (kill(parent, 0) == 0) {
			kill(0, SIGUSR1);
			usleep(100);
		}
		_exit(0);
	}
	for (int i = 0; i < TRIES; i++) {
		args->stack = (uintptr_t)stack;
		args->stack_size = STACK - 64;
		if (strcmp(kind, "thread"))
			args->exit_signal = SIGCHLD;
		long made = birth(entry);
		if (made < 0 && made != -ENOSYS) {
			printf("%s %s: %s\n", kind, entry, strerror(-made));
			kill(sender, SIGKILL);
			return 1;
		}
		/* A thread has its stack to itself. */
		if (made > 0 && !strcmp(kind, "thread"))
			usleep(100);
	}
	printf("never\n");
	kill(sender, SIGKILL);
	return 0;
}
