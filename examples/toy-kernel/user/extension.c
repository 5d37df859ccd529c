/* Filters in eBPF, which Linux has not: what they remember of threads and processes, what only one can be first at,
 * what arguments point to, who asks, and which are refused. With the argument `full`, a fork that finds no place for
 * what it would have to remember. The interface is that of `seccomp_kernel::uapi`. */
#include "toy.h"

#define EXTENSION (1U << 31)
struct insn {
	uint8_t code, registers; /* the destination is the low half */
	int16_t offset;
	int32_t number;
};
struct map {
	uint32_t kind, key_size, value_size, max_entries, flags, reserved;
	uint64_t values;
};
struct extension {
	uint32_t insn_count, map_count;
	uint64_t insns, maps;
	uint32_t flags, reserved;
};
enum { HASH = 1, TASK_STORAGE = 29 };
#define THREAD 0
#define GROUP (1U << 30)
#define COPY_AT_FORK (1U << 31)
enum { RELIES_ON_COPIES = 1 };

/* Instructions. A skip is of instructions of 8 bytes: MAP and LONG are two, ANSWER three. */
enum { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 };
#define SET(to, number) { 0xb7, to, 0, number }
#define ADD(to, number) { 0x07, to, 0, number }
#define AND(to, number) { 0x57, to, 0, number }
#define OR(to, number) { 0x47, to, 0, number }
#define SHIFT_RIGHT(to, number) { 0x77, to, 0, number }
#define NEGATE(to) { 0x87, to, 0, 0 }
#define COPY(to, from) { 0xbf, (to) | (from) << 4, 0, 0 }
#define COPY_LOW(to, from) { 0xbc, (to) | (from) << 4, 0, 0 }
#define GET(to, from, offset) { 0x61, (to) | (from) << 4, offset, 0 }
#define GET_LONG(to, from, offset) { 0x79, (to) | (from) << 4, offset, 0 }
#define PUT(to, offset, from) { 0x63, (to) | (from) << 4, offset, 0 }
#define PUT_LONG(to, offset, from) { 0x7b, (to) | (from) << 4, offset, 0 }
#define PUT_NUMBER(to, offset, number) { 0x62, to, offset, number }
#define SKIP_IF(a, number, skip) { 0x15, a, skip, number }
#define SKIP_UNLESS(a, number, skip) { 0x55, a, skip, number }
#define SKIP_UNLESS_NEGATIVE(a, skip) { 0x75, a, skip, 0 }
#define SKIP_UNLESS_BELOW(a, b, skip) { 0x3d, (a) | (b) << 4, skip, 0 }
#define SKIP_IF_SAME(a, b, skip) { 0x1d, (a) | (b) << 4, skip, 0 }
#define MAP(to, index) { 0x18, (to) | 1 << 4, 0, index }, { 0, 0, 0, 0 }
#define LONG(to, value) { 0x18, to, 0, (int32_t)(value) }, { 0, 0, 0, (int32_t)((value) >> 32) }
#define HELPER(number) { 0x85, 0, 0, number }
#define END { 0x95, 0, 0, 0 }
/* The errno is in R0. */
#define ANSWER AND(R0, 0xfff), OR(R0, RET_ERRNO), END
/* Lets all calls through but one. */
#define ONLY(call) GET(R2, R1, 0), SKIP_IF(R2, (int32_t)(call), 2), SET(R0, RET_ALLOW), END
enum { MAP_UPDATE = 2, KTIME = 5, TRACE = 6, PID_TGID = 14, READ_USER_STR = 114, TASK_STORAGE_GET = 156 };

static long set_extension(struct extension extension, unsigned flags)
{
	return call(SYS_seccomp, SET_MODE_FILTER, EXTENSION | flags, &extension);
}
#define COUNT(of) (sizeof(of) / sizeof(*(of)))
#define DESCRIBE(insns, maps) { COUNT(insns), COUNT(maps), (uint64_t)(insns), (uint64_t)(maps), 0, 0 }

/* Eight characters, as a register has them. */
static uint64_t text(const char *characters)
{
	uint64_t value;

	memcpy(&value, characters, sizeof value);
	return value;
}

/* How often `nr` was called, as its errno. */
static long counted(long nr, unsigned scope, unsigned max_entries, unsigned flags)
{
	const struct insn insns[] = {
		ONLY(nr),
		MAP(R1, 0), SET(R2, 0), SET(R3, 0), SET(R4, 1), HELPER(TASK_STORAGE_GET),
		SKIP_UNLESS(R0, 0, 4), SET(R0, ENOMEM), ANSWER,
		GET(R1, R0, 0), ADD(R1, 1), PUT(R0, 0, R1), COPY(R0, R1), ANSWER,
	};
	const struct map maps[] = { { TASK_STORAGE, 4, 4, max_entries, scope, 0, 0 } };
	return set_extension((struct extension)DESCRIBE(insns, maps), flags);
}

static void count(const char *who)
{
	long group = call(SYS_getppid), copied_group = call(SYS_getuid);
	long thread = call(SYS_gettid), copied_thread = call(SYS_sched_yield);

	print("%s: group %d, copied %d, thread %d, copied %d\n", who, -group, -copied_group, -thread, -copied_thread);
}

static volatile int go;
static struct thread early, late;
static void waiting(void *who)
{
	await(&go, 1);
	count(who);
}

static void child_counts(void)
{
	count("child");
	count("child again");
}

static void storage(void)
{
	start(&early, waiting, "thread of before");
	show("group", counted(SYS_getppid, GROUP, 4, TSYNC));
	show("copied group", counted(SYS_getuid, GROUP | COPY_AT_FORK, 4, TSYNC));
	show("thread", counted(SYS_gettid, THREAD, 4, TSYNC));
	show("copied thread", counted(SYS_sched_yield, THREAD | COPY_AT_FORK, 4, TSYNC));
	count("first");
	count("second");
	signal_to(&go, 1);
	join(&early);
	start(&late, waiting, "thread of after");
	join(&late);
	in_child("child", child_counts);
	count("parent");
	/* There is place for three more, and each that ends makes place. */
	for (int i = 0; i < 10; i++) {
		long child = fork();
		if (child == 0)
			quit((int)-call(SYS_getppid));
		int status = wait_for(child);
		if (status != 1 << 8)
			print("child %d: status %x\n", (long)i, (long)status);
	}
	count("parent after ten children");
}

/* Whether the caller is the first with this argument. */
static void first(long key)
{
	print("%d: %d\n", key, call(SYS_sched_yield, key));
}

static void others(void *argument)
{
	first(8);
	first(9);
}

static void child_of_first(void)
{
	first(7);
}

static void once(void)
{
	const struct insn insns[] = {
		ONLY(SYS_sched_yield),
		GET(R2, R1, offsetof(struct seccomp_data, args[0])), PUT(R10, -4, R2), PUT_NUMBER(R10, -8, 1),
		MAP(R1, 0), COPY(R2, R10), ADD(R2, -4), COPY(R3, R10), ADD(R3, -8), SET(R4, 1), /* not if it exists */
		HELPER(MAP_UPDATE), NEGATE(R0), ANSWER,
	};
	const struct map maps[] = { { HASH, 4, 4, 3, 0, 0, 0 } };

	show("once", set_extension((struct extension)DESCRIBE(insns, maps), 0));
	first(7);
	first(7);
	first(8);
	start(&early, others, 0);
	join(&early);
	/* All who have the filter share its maps. */
	in_child("child", child_of_first);
	print("full\n");
	first(10);
}

static void writes(void *argument)
{
	show("denied", call(SYS_write, 1, "deny me", 8));
	show("another", call(SYS_write, 1, "deny no\n", 8));
	show("nowhere", call(SYS_write, 1, 8, 8));
	show("kernel", call(SYS_write, 1, -4096L, 8));
}

static void memory(void)
{
	const struct insn insns[] = {
		ONLY(SYS_write),
		GET_LONG(R3, R1, offsetof(struct seccomp_data, args[1])), COPY(R1, R10), ADD(R1, -8), SET(R2, 8),
		HELPER(READ_USER_STR), SKIP_UNLESS_NEGATIVE(R0, 4), SET(R0, 111), ANSWER,
		GET_LONG(R1, R10, -8), LONG(R2, text("deny me")), SKIP_IF_SAME(R1, R2, 2), SET(R0, RET_ALLOW), END,
		SET(R0, EACCES), ANSWER,
	};

	show("memory", set_extension((struct extension){ COUNT(insns), 0, (uint64_t)insns, 0, 0, 0 }, 0));
	writes(0);
	start(&early, writes, 0);
	join(&early);
}

/* 1 for the first thread of a process, 2 for another; 99 if the clock went back. */
static void asks(void *who)
{
	show(who, call(SYS_getuid));
}

static void child_asks(void)
{
	asks("child");
}

static void identity(void)
{
	const struct insn insns[] = {
		ONLY(SYS_getuid),
		HELPER(KTIME), COPY(R6, R0), HELPER(KTIME), SKIP_UNLESS_BELOW(R0, R6, 4), SET(R0, 99), ANSWER,
		HELPER(PID_TGID), COPY_LOW(R6, R0), COPY(R7, R0), SHIFT_RIGHT(R7, 32),
		SET(R8, 1), SKIP_IF_SAME(R6, R7, 1), SET(R8, 2),
		LONG(R1, text("asks %d")), PUT_LONG(R10, -8, R1), COPY(R1, R10), ADD(R1, -8), SET(R2, 8),
		COPY(R3, R8), SET(R4, 0), SET(R5, 0), HELPER(TRACE), COPY(R0, R8), ANSWER,
	};

	show("identity", set_extension((struct extension){ COUNT(insns), 0, (uint64_t)insns, 0, 0, 0 }, 0));
	asks("first thread");
	start(&early, asks, "another thread");
	join(&early);
	in_child("child", child_asks);
}

static const struct insn allow[] = { SET(R0, RET_ALLOW), END };

static void refusals(void)
{
	const struct insn unchecked[] = {
		MAP(R1, 0), SET(R2, 0), SET(R3, 0), SET(R4, 1), HELPER(TASK_STORAGE_GET), GET(R0, R0, 0), END,
	};
	const struct insn unset[] = { COPY(R0, R6), END };
	const struct insn endless[] = { SKIP_UNLESS(R1, 0, -1), SET(R0, RET_ALLOW), END };
	const struct insn unknown[] = { HELPER(9999), END };
	struct map maps[] = { { TASK_STORAGE, 4, 4, 4, THREAD, 0, 0 } };
	struct extension extension = DESCRIBE(allow, maps);

	show("as it should be", set_extension(extension, 0));
	show("null", call(SYS_seccomp, SET_MODE_FILTER, EXTENSION, 0));
	extension.flags = RELIES_ON_COPIES;
	show("relies on copies", set_extension(extension, 0));
	extension.flags = 2;
	show("unknown flag", set_extension(extension, 0));
	extension.flags = 0;
	extension.reserved = 1;
	show("reserved field", set_extension(extension, 0));
	extension.reserved = 0;
	extension.insn_count = 0;
	show("empty", set_extension(extension, 0));
	show("not compared with null", set_extension((struct extension)DESCRIBE(unchecked, maps), 0));
	show("unset register", set_extension((struct extension)DESCRIBE(unset, maps), 0));
	show("endless", set_extension((struct extension)DESCRIBE(endless, maps), 0));
	show("unknown helper", set_extension((struct extension)DESCRIBE(unknown, maps), 0));
	maps[0].reserved = 1;
	show("reserved field of a map", set_extension((struct extension)DESCRIBE(allow, maps), 0));
	maps[0].reserved = 0;
	maps[0].kind = 77;
	show("unknown map", set_extension((struct extension)DESCRIBE(allow, maps), 0));
	maps[0].kind = HASH;
	maps[0].value_size = 65536;
	maps[0].max_entries = 1 << 20;
	show("large map", set_extension((struct extension)DESCRIBE(allow, maps), 0));
}

static void unprivileged(void)
{
	show("setuid", call(SYS_setuid, 1000));
	show("unprivileged", counted(SYS_getppid, GROUP, 4, 0));
}

static void full(void)
{
	show("copied thread", counted(SYS_getppid, THREAD | COPY_AT_FORK, 1, 0));
	show("count", -call(SYS_getppid));
	long child = fork();
	if (child == 0)
		quit(1);
	show("fork", child);
	show("wait", call(SYS_wait4, -1, 0, 0, 0));
	show("count", -call(SYS_getppid));
}

int main(int argc, char **argv)
{
	long installed = set_extension((struct extension){ COUNT(allow), 0, (uint64_t)allow, 0, 0, 0 }, 0);

	show("installed", installed);
	if (installed != 0)
		return 1;
	if (argc > 1 && equal(argv[1], "full")) {
		full();
		return 0;
	}
	in_child("unprivileged", unprivileged);
	no_new_privs();
	in_child("refusals", refusals);
	in_child("storage", storage);
	in_child("once", once);
	in_child("memory", memory);
	in_child("identity", identity);
	return 0;
}
