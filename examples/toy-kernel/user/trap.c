/* TRAP: what the handler sees, what it can return, and what becomes of a signal that is blocked or ignored. */
#include "toy.h"

static void handler(int signal, struct siginfo *info, uint64_t *context)
{
	print("signal %d code %d errno %d own call %d own machine %d address %d\n", (long)signal, (long)info->code,
	      (long)info->error, (long)(info->syscall == SYS_getuid), (long)(info->arch == AUDIT_ARCH),
	      (long)(info->address == context[UC_IP]));
#if defined(__x86_64__)
	/* The register holds the number again. */
	print("register %d\n", (long)(context[UC_RESULT] == SYS_getuid));
#else
	/* The register holds the first argument again. */
	print("register %d\n", (long)(context[UC_RESULT] == 1234));
#endif
	context[UC_RESULT] = 4711;
}

static void trapped(void)
{
	double sum = 0.5;

	for (int i = 0; i < 3; i++) {
		long result = call(SYS_getuid, 1234);
		sum += (double)result;
		show("returned", result);
	}
	show("floating point", (long)(sum * 2));
}

static void ignored(void)
{
	set_disposition(SIGSYS, SIG_IGN);
	call(SYS_getuid);
	print("not reached\n");
}

static void blocked(void)
{
	block(SIGSYS);
	call(SYS_getuid);
	print("not reached\n");
}

static void by_default(void)
{
	set_disposition(SIGSYS, SIG_DFL);
	call(SYS_getuid);
	print("not reached\n");
}

static void in_handler(int signal, struct siginfo *info, uint64_t *context)
{
	/* SIGSYS is blocked while its handler runs. */
	call(SYS_getuid);
	print("not reached\n");
}

static void nested(void)
{
	handle(SIGSYS, in_handler, 0);
	call(SYS_getuid);
	print("not reached\n");
}

static void without_stack(void)
{
	/* Where the handler's frame would go is nothing. */
#if defined(__x86_64__)
	__asm__ volatile("mov $64, %%rsp\n syscall" : : "a"(SYS_getuid) : "rcx", "r11", "memory");
#elif defined(__riscv)
	register long a7 __asm__("a7") = SYS_getuid;
	__asm__ volatile("li sp, 64\n ecall" : : "r"(a7) : "memory");
#else
	register long x8 __asm__("x8") = SYS_getuid;
	__asm__ volatile("mov x9, #64\n mov sp, x9\n svc 0" : : "r"(x8) : "x9", "memory");
#endif
	__builtin_unreachable();
}

int main(int argc, char **argv)
{
	handle(SIGSYS, handler, 0);
	show("install", on_call(SYS_getuid, RET_TRAP | 0x1234, 0));
	trapped();
	in_child("ignored", ignored);
	in_child("blocked", blocked);
	in_child("default", by_default);
	in_child("nested", nested);
	in_child("without stack", without_stack);
	trapped();
	return 0;
}
