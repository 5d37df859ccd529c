/* What the programs share: system calls, a little of what a C library has, seccomp's interface. They need no library,
 * and print nothing that depends on the machine, so that Linux and the toy kernel can be compared anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_mprotect = 10, SYS_munmap = 11, SYS_brk = 12,
       SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14, SYS_rt_sigreturn = 15, SYS_ioctl = 16, SYS_sched_yield = 24,
       SYS_nanosleep = 35, SYS_getpid = 39, SYS_clone = 56, SYS_exit = 60, SYS_wait4 = 61, SYS_kill = 62,
       SYS_getuid = 102, SYS_setuid = 105, SYS_getppid = 110, SYS_personality = 135, SYS_prctl = 157, SYS_gettid = 186, SYS_futex = 202,
       SYS_set_tid_address = 218,
       SYS_clock_gettime = 228, SYS_exit_group = 231, SYS_tgkill = 234, SYS_ppoll = 271, SYS_pipe2 = 293,
       SYS_seccomp = 317 };
#define AUDIT_ARCH 0xc000003e
#else
enum { SYS_ioctl = 29, SYS_close = 57, SYS_pipe2 = 59, SYS_read = 63, SYS_write = 64, SYS_ppoll = 73, SYS_exit = 93,
       SYS_exit_group = 94, SYS_set_tid_address = 96, SYS_futex = 98, SYS_nanosleep = 101, SYS_clock_gettime = 113, SYS_sched_yield = 124,
       SYS_personality = 92, SYS_kill = 129, SYS_tgkill = 131, SYS_rt_sigaction = 134, SYS_rt_sigprocmask = 135, SYS_rt_sigreturn = 139,
       SYS_setuid = 146, SYS_prctl = 167, SYS_getpid = 172, SYS_getppid = 173, SYS_getuid = 174, SYS_gettid = 178,
       SYS_brk = 214, SYS_munmap = 215, SYS_clone = 220, SYS_mmap = 222, SYS_mprotect = 226, SYS_wait4 = 260,
       SYS_seccomp = 277 };
#if defined(__riscv)
#define AUDIT_ARCH 0xc00000f3
#else
#define AUDIT_ARCH 0xc00000b7
#endif
#endif

enum { EPERM = 1, EINTR = 4, ENOMEM = 12, EACCES = 13, EFAULT = 14, EINVAL = 22 };
enum { SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11, SIGCHLD = 17, SIGSYS = 31 };
enum { SIG_DFL, SIG_IGN };
enum { PR_GET_SECCOMP = 21, PR_SET_SECCOMP = 22, PR_SET_NO_NEW_PRIVS = 38, PR_GET_NO_NEW_PRIVS = 39 };

/* System calls; the result is a value or a negative errno. */
static long call6(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__riscv)
	register long a7 __asm__("a7") = nr;
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = e;
	register long a5 __asm__("a5") = f;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
	return a0;
#else
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#endif
}
#define ARGUMENTS(nr, a, b, c, d, e, f, ...) \
	call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define call(...) ARGUMENTS(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* A program begins with its arguments on the stack. */
int main(int argc, char **argv);
__attribute__((used)) static void begin(long *stack)
{
	call(SYS_exit_group, main((int)stack[0], (char **)(stack + 1)));
	__builtin_unreachable();
}
#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#elif defined(__riscv)
__asm__(".globl _start\n_start: mv a0, sp\n andi sp, sp, -16\n call begin\n");
#else
__asm__(".globl _start\n_start: mov x0, sp\n and sp, x0, #-16\n bl begin\n");
#endif

/* The compiler makes calls of these. */
__attribute__((used)) void *memset(void *to, int byte, size_t len)
{
	for (volatile char *at = to; len--; at++)
		*at = (char)byte;
	return to;
}
__attribute__((used)) void *memcpy(void *to, const void *from, size_t len)
{
	const char *source = from;
	for (volatile char *at = to; len--; at++)
		*at = *source++;
	return to;
}

/* Formatted output: %s, %d, %x and %%, of longs. A line is one write. */
static void print(const char *format, ...)
{
	char line[256], digits[24];
	size_t len = 0;
	va_list args;

	va_start(args, format);
	for (; *format && len < sizeof line - sizeof digits; format++) {
		if (*format != '%') {
			line[len++] = *format;
			continue;
		}
		if (*++format == 's') {
			for (const char *s = va_arg(args, const char *); *s && len < sizeof line - sizeof digits; s++)
				line[len++] = *s;
			continue;
		}
		long value = va_arg(args, long);
		unsigned long left = (unsigned long)value, base = *format == 'x' ? 16 : 10;
		int count = 0;
		if (base == 10 && value < 0) {
			line[len++] = '-';
			left = -left;
		}
		do
			digits[count++] = "0123456789abcdef"[left % base];
		while (left /= base);
		while (count)
			line[len++] = digits[--count];
	}
	va_end(args);
	call(SYS_write, 1, line, len);
}
static void show(const char *what, long value)
{
	print("%s: %d\n", what, value);
}
static int equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}
static long number(const char *text)
{
	long value = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + *text - '0';
	return value;
}

/* Filters. */
struct sock_filter {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};
struct sock_fprog {
	uint16_t len;
	const struct sock_filter *filter;
};
struct seccomp_data {
	int nr;
	uint32_t arch;
	uint64_t instruction_pointer, args[6];
};
enum { SET_MODE_STRICT, SET_MODE_FILTER, GET_ACTION_AVAIL, GET_NOTIF_SIZES };
enum { TSYNC = 1, LOG = 2, NEW_LISTENER = 8, TSYNC_ESRCH = 16, WAIT_KILLABLE_RECV = 32 };
#define RET_KILL_PROCESS 0x80000000
#define RET_KILL_THREAD 0
#define RET_TRAP 0x30000
#define RET_ERRNO 0x50000
#define RET_USER_NOTIF 0x7fc00000
#define RET_TRACE 0x7ff00000
#define RET_LOG 0x7ffc0000
#define RET_ALLOW 0x7fff0000
#define INSN(code, jt, jf, k) { code, jt, jf, k }
#define LOAD(field) INSN(0x20, 0, 0, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) INSN(0x15, 0, skip, value)
#define RETURN(value) INSN(0x06, 0, 0, value)

static long set_filter(const struct sock_filter *insns, size_t count, unsigned flags)
{
	struct sock_fprog prog = { (uint16_t)count, insns };
	return call(SYS_seccomp, SET_MODE_FILTER, flags, &prog);
}
#define install(flags, ...) \
	set_filter((struct sock_filter[]){ __VA_ARGS__ }, \
		   sizeof(struct sock_filter[]){ __VA_ARGS__ } / sizeof(struct sock_filter), flags)
/* A filter that answers one call with `value` and allows the rest. */
static long on_call(long nr, uint32_t value, unsigned flags)
{
	return install(flags, LOAD(nr), UNLESS((uint32_t)nr, 1), RETURN(value), RETURN(RET_ALLOW));
}
static void no_new_privs(void)
{
	call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Processes. */
enum { CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800, CLONE_THREAD = 0x10000,
       CLONE_SYSVSEM = 0x40000, CLONE_CHILD_CLEARTID = 0x200000 };

static long fork_with(long flags)
{
	return call(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}
static long fork(void)
{
	return fork_with(0);
}
static void quit(int status)
{
	call(SYS_exit_group, status);
}
static int wait_for(long pid)
{
	int status = -1;
	long result;
	do
		result = call(SYS_wait4, pid, &status, 0, 0);
	while (result == -EINTR);
	return status & ~0x80; /* not whether there is a core dump */
}
/* Runs `body` in a child, and says how that ends. */
static void in_child(const char *what, void (*body)(void))
{
	long child = fork();
	if (child == 0) {
		body();
		quit(0);
	}
	print("%s: status %x\n", what, (long)wait_for(child));
}

/* Threads. Each has a stack of its own in `struct thread`, and is known by its id until it has ended. */
struct thread {
	volatile int tid;
	void (*body)(void *);
	void *argument;
	char stack[16384] __attribute__((aligned(16)));
};
#if defined(__x86_64__)
enum { FIRST_WORDS = 3 }; /* one is popped */
#else
enum { FIRST_WORDS = 2 };
#endif
__attribute__((used)) static void run_thread(struct thread *thread)
{
	thread->body(thread->argument);
	call(SYS_exit, 0);
	__builtin_unreachable();
}
static long futex(volatile int *word, int op, int value)
{
	return call(SYS_futex, word, op, value, 0);
}
static void start(struct thread *thread, void (*body)(void *), void *argument)
{
	const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			   CLONE_CHILD_CLEARTID;
	/* The new stack begins with what the thread is; from there it makes an ordinary call, with the stack aligned. */
	struct thread **stack = (struct thread **)(thread->stack + sizeof thread->stack) - FIRST_WORDS;
	volatile int *clear = &thread->tid;
	long result;

	thread->body = body;
	thread->argument = argument;
	thread->tid = -1;
	*stack = thread;
#if defined(__x86_64__)
	register volatile int *r10 __asm__("r10") = clear;
	register long r8 __asm__("r8") = 0;
	__asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n pop %%rdi\n xor %%ebp, %%ebp\n call run_thread\n 1:"
			 : "=a"(result)
			 : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(0), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
#elif defined(__riscv)
	register long a7 __asm__("a7") = SYS_clone;
	register long a0 __asm__("a0") = flags;
	register void *a1 __asm__("a1") = stack;
	register long a2 __asm__("a2") = 0;
	register long a3 __asm__("a3") = 0;
	register volatile int *a4 __asm__("a4") = clear;
	__asm__ volatile("ecall\n bnez a0, 1f\n ld a0, 0(sp)\n call run_thread\n 1:"
			 : "+r"(a0)
			 : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4)
			 : "ra", "memory");
	result = a0;
#else
	register long x8 __asm__("x8") = SYS_clone;
	register long x0 __asm__("x0") = flags;
	register void *x1 __asm__("x1") = stack;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register volatile int *x4 __asm__("x4") = clear;
	__asm__ volatile("svc 0\n cbnz x0, 1f\n ldr x0, [sp]\n bl run_thread\n 1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "x30", "memory");
	result = x0;
#endif
	/* It may have ended by now; the kernel's 0 stays. */
	__sync_val_compare_and_swap(&thread->tid, -1, (int)result);
}
static void join(struct thread *thread)
{
	int tid;
	while ((tid = thread->tid) != 0)
		futex(&thread->tid, 0, tid);
}

/* A word that threads wait for. */
static void signal_to(volatile int *word, int value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	futex(word, 1, 1000);
}
static void await(volatile int *word, int value)
{
	int now;
	while ((now = __atomic_load_n(word, __ATOMIC_SEQ_CST)) != value)
		futex(word, 0, now);
}

/* Signals. */
struct siginfo {
	int signal, error, code, unused;
	uint64_t address; /* where the call was made */
	int syscall;
	unsigned arch;
	char rest[96];
};
#if defined(__x86_64__)
/* In `ucontext`: rip, and the register of the result. */
enum { UC_IP = 168 / 8, UC_RESULT = 144 / 8 };
void return_from_handler(void);
__asm__("return_from_handler: mov $15, %eax\n syscall\n");
#elif defined(__riscv)
enum { UC_IP = 176 / 8, UC_RESULT = 176 / 8 + 10 };
#else
enum { UC_IP = 176 / 8 + 33, UC_RESULT = 176 / 8 + 1 };
#endif

enum { SA_SIGINFO = 4, SA_RESTART = 0x10000000 };
static long handle(int signal, void (*handler)(int, struct siginfo *, uint64_t *), unsigned flags)
{
#if defined(__x86_64__)
	uint64_t action[4] = { (uint64_t)handler, SA_SIGINFO | flags | 0x4000000, (uint64_t)return_from_handler, 0 };
#elif defined(__riscv)
	uint64_t action[3] = { (uint64_t)handler, SA_SIGINFO | flags, 0 };
#else
	uint64_t action[4] = { (uint64_t)handler, SA_SIGINFO | flags, 0, 0 };
#endif
	return call(SYS_rt_sigaction, signal, action, 0, 8);
}
static void set_disposition(int signal, long disposition)
{
	uint64_t action[4] = { (uint64_t)disposition, 0, 0, 0 };
	call(SYS_rt_sigaction, signal, action, 0, 8);
}
static void block(int signal)
{
	uint64_t mask = 1UL << (signal - 1);
	call(SYS_rt_sigprocmask, 0, &mask, 0, 8);
}

static void pause_for(long milliseconds)
{
	long time[2] = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	call(SYS_nanosleep, time, 0);
}
