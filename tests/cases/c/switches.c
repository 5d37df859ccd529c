#include "seccomp_filter.h"

SEC("seccomp/dense") int dense(const struct seccomp_data *data)
{
	switch (data->nr) {
	case 0: return SECCOMP_RET_ALLOW;
	case 1: return SECCOMP_RET_LOG;
	case 2: return SECCOMP_RET_ERRNO | EPERM;
	case 3: return SECCOMP_RET_ERRNO | EACCES;
	case 4: return SECCOMP_RET_TRAP;
	case 5: return SECCOMP_RET_TRACE;
	case 6: return SECCOMP_RET_ALLOW;
	case 7: return SECCOMP_RET_KILL_THREAD;
	default: return SECCOMP_RET_KILL_PROCESS;
	}
}

SEC("seccomp/dense_numbers") int dense_numbers(const struct seccomp_data *data)
{
	__u32 error;
	switch (data->nr & 7) {
	case 0: error = 7; break;
	case 1: error = 12; break;
	case 2: error = 1; break;
	case 3: error = 19; break;
	case 4: error = 22; break;
	case 5: error = 30; break;
	case 6: error = 2; break;
	default: error = 38; break;
	}
	return SECCOMP_RET_ERRNO | error;
}

SEC("seccomp/sparse") int sparse(const struct seccomp_data *data)
{
	switch (data->nr) {
	case __NR_read: case __NR_write: case __NR_close: case __NR_exit_group: case __NR_brk:
		return SECCOMP_RET_ALLOW;
	case __NR_openat: case __NR_openat2:
		return data->args[2] & 3 ? SECCOMP_RET_ERRNO | EROFS : SECCOMP_RET_ALLOW;
	case __NR_mmap: case __NR_mprotect:
		return (data->args[2] & 6) == 6 ? SECCOMP_RET_ERRNO | EACCES : SECCOMP_RET_ALLOW;
	case __NR_socket:
		return data->args[0] == 1 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EAFNOSUPPORT;
	case __NR_clone:
		return data->args[0] & 0x7e020000 ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW;
	case __NR_execve: case __NR_execveat:
		return SECCOMP_RET_TRACE | 7;
	}
	return SECCOMP_RET_ERRNO | ENOSYS;
}

SEC("seccomp/by_machine") int by_machine(const struct seccomp_data *data)
{
	switch (data->arch) {
	case AUDIT_ARCH_X86_64:
		return data->nr < 500 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | ENOSYS;
	case AUDIT_ARCH_AARCH64:
	case AUDIT_ARCH_RISCV64:
		return data->nr < 300 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
	default:
		return SECCOMP_RET_KILL_PROCESS;
	}
}

struct rule {
	__u32 nr;
	__u32 argument;
	__u64 mask;
	__u64 value;
	__u32 action;
};

static const struct rule rules[] = {
	{ __NR_socket, 0, ~0ULL, 1, SECCOMP_RET_ALLOW },
	{ __NR_ioctl, 1, 0xffff, 0x5413, SECCOMP_RET_ALLOW },
	{ __NR_mmap, 2, 6, 6, SECCOMP_RET_ERRNO | EACCES },
	{ __NR_prctl, 0, ~0ULL, 22, SECCOMP_RET_LOG },
	{ __NR_kill, 1, ~0ULL, 9, SECCOMP_RET_ERRNO | EPERM },
};

SEC("seccomp/table_of_rules") int table_of_rules(const struct seccomp_data *data)
{
	__u64 args[6];
	for (int i = 0; i < 6; i++)
		args[i] = data->args[i];
	for (__u32 i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *rule = &rules[i];
		if ((__u32)data->nr != rule->nr)
			continue;
		__u32 argument = rule->argument;
		if (argument < 6 && (args[argument] & rule->mask) == rule->value)
			return rule->action;
	}
	return SECCOMP_RET_LOG;
}

SEC("seccomp/search") int search(const struct seccomp_data *data)
{
	static const __u32 sorted[] = { 3, 9, 12, 40, 57, 59, 101, 165, 231, 257, 262, 272, 302, 308, 321, 435 };
	__u32 low = 0, high = 16;
	for (int i = 0; i < 5 && low < high; i++) {
		__u32 middle = (low + high) / 2;
		if (middle > 15)
			break;
		if (sorted[middle] == (__u32)data->nr)
			return SECCOMP_RET_ALLOW;
		if (sorted[middle] < (__u32)data->nr)
			low = middle + 1;
		else
			high = middle;
	}
	return SECCOMP_RET_ERRNO | ENOSYS;
}

SEC("seccomp/bad_table_index") int bad_table_index(const struct seccomp_data *data)
{
	static const volatile __u32 errors[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	return SECCOMP_RET_ERRNO | errors[data->nr & 15];
}

SEC("seccomp/bad_way_without_a_value") int bad_way_without_a_value(const struct seccomp_data *data)
{
	struct { __u64 set, other; } pair;
	if (data->nr == 3)
		pair.set = 1;
	__u64 volatile *read = &pair.set;
	pair.other = data->nr;
	return *read + pair.other;
}
