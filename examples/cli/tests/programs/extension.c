/* Installs an eBPF filter of its own, which lets getppid succeed once: what the flag and the structures are is in
 * the documentation of `seccomp_kernel::uapi`. Prints the errno of the installation, and what four calls and those of
 * a child return. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECCOMP_SET_MODE_FILTER 1
#define SECCOMP_FILTER_FLAG_EXTENSION (1U << 31)

struct insn {
	uint8_t code;
	uint8_t regs;
	int16_t off;
	int32_t imm;
};

struct extension_map {
	uint32_t type, key_size, value_size, max_entries, flags, reserved;
	uint64_t values;
};

struct extension {
	uint32_t insn_count, map_count;
	uint64_t insns, maps;
	uint32_t flags, reserved;
};

static void call(int times)
{
	for (int i = 0; i < times; i++) {
		long result = syscall(SYS_getppid);
		printf("%s\n", result < 0 ? "denied" : "allowed");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const int ALLOW = 0x7fff0000, DENY = 0x00050001;
	struct insn insns[] = {
		{ 0x61, 0x12, 0, 0 },             /* r2 = nr */
		{ 0x55, 0x02, 12, SYS_getppid },  /* if r2 != getppid goto allow */
		{ 0x18, 0x11, 0, 0 }, { 0 },      /* r1 = map 0 */
		{ 0xb7, 0x02, 0, 0 },             /* r2 = 0 */
		{ 0xb7, 0x03, 0, 0 },             /* r3 = 0 */
		{ 0xb7, 0x04, 0, 1 },             /* r4 = create */
		{ 0x85, 0x00, 0, 156 },           /* task_storage_get */
		{ 0x15, 0x00, 4, 0 },             /* if r0 == 0 goto deny */
		{ 0x61, 0x01, 0, 0 },             /* r1 = *r0 */
		{ 0x55, 0x01, 2, 0 },             /* if r1 != 0 goto deny */
		{ 0x62, 0x00, 0, 1 },             /* *r0 = 1 */
		{ 0x05, 0x00, 2, 0 },             /* goto allow */
		{ 0xb7, 0x00, 0, DENY }, { 0x95, 0, 0, 0 },
		{ 0xb7, 0x00, 0, ALLOW }, { 0x95, 0, 0, 0 },
	};
	insns[1].off = 13;
	/* Task storage of thread groups. */
	struct extension_map map = { 29, 4, 4, 16, 1U << 30, 0, 0 };
	struct extension extension = {
		sizeof(insns) / sizeof(insns[0]), 1, (uintptr_t)insns, (uintptr_t)&map, 0, 0,
	};

	/* RELIES_ON_COPIES. */
	extension.flags = argc > 1 && strcmp(argv[1], "copies") == 0;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_EXTENSION, &extension);
	printf("installed: %d\n", failed ? errno : 0);
	call(2);
	if (fork() == 0) {
		call(2);
		_exit(0);
	}
	wait(NULL);
	return 0;
}
