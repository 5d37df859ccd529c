/*
 * Threads and processes are born in every way, while others of their process install filters, execute programs, stop and
 * die. Each makes the calls that it must not make: getppid, and what its parents and itself have denied.
 *
 * The arguments are how many are born, and a seed.
 */
#include "common.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SHARED 100
#define STACK 16384
/* Numbers that no call has. Filter k denies FIRST + k with the errno 100 + k. */
#define FIRST 1000
#define FILTERS 8
#define DENIED 55

static volatile struct {
	int births, limit, escaped;
} *shared;

struct process {
	/* The filters that all of its threads have. */
	unsigned mask;
};

struct worker {
	struct process *process;
	unsigned mask, seed;
	int steps;
};

/* Threads without memory of their own cannot have an errno. */
static long raw(long nr, long first, long second, long third, long fourth)
{
	long result;

#ifdef __x86_64__
	register long r10 __asm__("r10") = fourth;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(first), "S"(second), "d"(third), "r"(r10)
			 : "rcx", "r11", "memory");
#else
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(first), "c"(second), "d"(third), "S"(fourth)
			 : "memory");
#endif
	return result;
}

static unsigned next(unsigned *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void check(struct worker *w)
{
	unsigned mask = w->mask | __atomic_load_n(&w->process->mask, __ATOMIC_ACQUIRE);

	if (raw(SYS_getppid, 0, 0, 0, 0) != -DENIED)
		__atomic_fetch_add(&shared->escaped, 1, __ATOMIC_RELAXED);
	for (int k = 0; k < FILTERS; k++)
		if (mask >> k & 1 && raw(FIRST + k, 0, 0, 0, 0) != -(100 + k))
			__atomic_fetch_add(&shared->escaped, 1, __ATOMIC_RELAXED);
}

static void work(struct worker *w);

/* Where a child with a stack of its own begins. */
static void __attribute__((noreturn, used)) begin(struct worker *w)
{
	work(w);
	for (;;)
		raw(SYS_exit, 0, 0, 0, 0);
}

/* A child with these flags, by clone(2) or clone3(2). */
static void spawn(struct worker *w, unsigned long flags, int three)
{
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED)
		return;
	struct worker *child = (struct worker *)stack;
	*child = *w;
	if (!(flags & CLONE_THREAD)) {
		child->process = (struct process *)(child + 1);
		child->process->mask = w->mask | __atomic_load_n(&w->process->mask, __ATOMIC_ACQUIRE);
	}
	child->seed = next(&w->seed) | 1;
	child->steps = 1 + next(&w->seed) % 12;
	unsigned long top = ((unsigned long)stack + STACK - 64) & ~15UL;
	struct clone_args args = {
		.flags = flags & ~0xffUL,
		.exit_signal = flags & 0xff,
		.stack = (uintptr_t)stack,
		.stack_size = top - (unsigned long)stack,
	};
	long result = three ? SYS_clone3 : SYS_clone;
	long first = three ? (long)&args : (long)flags, second = three ? (long)sizeof(args) : (long)top;
#ifdef __x86_64__
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;

	__asm__ volatile("syscall; test %%rax, %%rax; jnz 1f; mov %%rbx, %%rdi; call begin; 1:"
			 : "+a"(result)
			 : "D"(first), "S"(second), "d"(0L), "r"(r10), "r"(r8), "b"(child)
			 : "rcx", "r11", "memory");
#else
	__asm__ volatile("push %%ebp; mov %4, %%ebp; int $0x80; test %%eax, %%eax; jnz 1f; push %%ebp; call begin; 1: pop %%ebp"
			 : "+a"(result)
			 : "b"(first), "c"(second), "d"(0L), "D"(child)
			 : "esi", "memory");
#endif
}

static void install(struct worker *w, unsigned flags)
{
	int k = next(&w->seed) % FILTERS;
	struct sock_filter insns[] = { LOAD(nr), ON(FIRST + k, SECCOMP_RET_ERRNO | (100 + k)), ALWAYS(SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = FPROG(insns);

	if ((w->mask | w->process->mask) >> k & 1)
		return;
	if (raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)&prog, 0))
		return;
	w->mask |= 1 << k;
	if (flags)
		__atomic_fetch_or(&w->process->mask, 1 << k, __ATOMIC_RELEASE);
}

static void hex(char *to, unsigned n)
{
	for (int i = 7; i >= 0; i--, n >>= 4)
		to[i] = "0123456789abcdef"[n & 15];
	to[8] = 0;
}

static void execute(struct worker *w)
{
	char mask[9], seed[9];
	char *argv[] = { "w", mask, seed, NULL }, *envp[] = { NULL };

	hex(mask, w->mask | __atomic_load_n(&w->process->mask, __ATOMIC_ACQUIRE));
	hex(seed, next(&w->seed) | 1);
	raw(SYS_execve, (long)"/proc/self/exe", (long)argv, (long)envp, 0);
}

static void work(struct worker *w)
{
	static const unsigned long ways[] = {
		SIGCHLD,
		0,
		CLONE_PTRACE | SIGCHLD,
		CLONE_NEWPID | SIGCHLD,
		CLONE_VM | SIGCHLD,
		CLONE_VM | CLONE_SIGHAND,
		CLONE_VM | CLONE_VFORK | SIGCHLD,
		CLONE_VFORK | SIGUSR2,
		CLONE_PARENT | SIGCHLD,
		CLONE_PARENT | CLONE_FILES,
	};
	const unsigned long thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	check(w);
	while (w->steps-- > 0) {
		unsigned what = next(&w->seed) % 32;
		int more = __atomic_load_n(&shared->births, __ATOMIC_RELAXED) < shared->limit;

		if (what < 18 && more) {
			__atomic_fetch_add(&shared->births, 1, __ATOMIC_RELAXED);
			unsigned long flags = what < 9 ? thread : ways[next(&w->seed) % 10];
			spawn(w, flags, next(&w->seed) & 1);
		} else if (what < 22) {
			install(w, 0);
		} else if (what < 24) {
			install(w, SECCOMP_FILTER_FLAG_TSYNC);
		} else if (what < 26 && more) {
			execute(w);
		} else if (what == 26) {
			long pid = raw(SYS_getpid, 0, 0, 0, 0);
			raw(SYS_kill, pid, (next(&w->seed) & 1) ? SIGKILL : SIGSTOP, 0, 0);
		} else if (what == 27) {
			raw(SYS_exit_group, 0, 0, 0, 0);
		} else if (what < 30) {
			raw(SYS_sched_yield, 0, 0, 0, 0);
		} else if (what == 30) {
			raw(SYS_wait4, -1, 0, WNOHANG | __WALL, 0);
		} else {
			raw(SYS_exit, 0, 0, 0, 0);
		}
		check(w);
	}
}

int main(int argc, char **argv)
{
	static struct process process;
	struct worker w = { .process = &process, .steps = 12 };

	if (!strcmp(argv[0], "w")) {
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED, 0);
		if (shared == MAP_FAILED)
			return 1;
		w.mask = strtoul(argv[1], NULL, 16);
		process.mask = w.mask;
		w.seed = strtoul(argv[2], NULL, 16);
		work(&w);
		return 0;
	}
	if (argc < 3 || dup2(memfd_create("shared", 0), SHARED) != SHARED || ftruncate(SHARED, 4096))
		return 1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED, 0);
	if (shared == MAP_FAILED)
		return 1;
	shared->limit = atoi(argv[1]);
	unsigned seed = strtoul(argv[2], NULL, 0) * 2 + 1;
	no_new_privs();
	if (deny(SYS_getppid, SECCOMP_RET_ERRNO | DENIED, 0))
		return 1;
	while (__atomic_load_n(&shared->births, __ATOMIC_RELAXED) < shared->limit) {
		w.seed = next(&seed);
		pid_t pid = fork();
		if (pid == 0) {
			setsid();
			work(&w);
			raw(SYS_exit, 0, 0, 0, 0);
		}
		/* Who is stopped goes on, and who waits for one that is gone is killed. */
		for (int i = 0; i < 200 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
			usleep(500);
			kill(-pid, SIGCONT);
		}
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	usleep(20000);
	printf(shared->escaped ? "escaped\n" : "done\n");
	return 0;
}
