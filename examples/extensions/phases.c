/* A server opens what it needs, then says with a call of its own that it serves; from then on it can open nothing,
 * run nothing and change nothing of its rights. There is no way back. */
#include "seccomp_filter.h"

/* No kernel has this call; the filter answers it itself. syscall(SERVE) returns 0. */
#define SERVE 1000

/* A child of a process that serves does so too. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(max_entries, 4096);
	__uint(scope, SCOPE_THREAD_GROUP);
	__uint(at_fork, AT_FORK_COPY);
	__type(key, int);
	__type(value, __u32);
} serving SEC(".maps");

SEC("seccomp") int phases(const struct seccomp_data *data)
{
	if (!is_x86_64(data))
		return SECCOMP_RET_KILL_PROCESS;

	if (data->nr == SERVE) {
		__u32 *is_serving = bpf_task_storage_get(&serving, 0, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!is_serving)
			return SECCOMP_RET_ERRNO | ENOMEM;
		*is_serving = 1;
		return SECCOMP_RET_ERRNO | 0;
	}

	__u32 *is_serving = bpf_task_storage_get(&serving, 0, 0, 0);
	if (!is_serving || !*is_serving)
		return SECCOMP_RET_ALLOW;
	switch (data->nr) {
	case __NR_open:
	case __NR_openat:
	case __NR_openat2:
	case __NR_creat:
	case __NR_socket:
	case __NR_bind:
	case __NR_listen:
	case __NR_connect:
	case __NR_execve:
	case __NR_execveat:
	case __NR_ptrace:
	case __NR_mount:
	case __NR_setuid:
	case __NR_setns:
	case __NR_unshare:
	case __NR_bpf:
	case __NR_io_uring_setup:
		return SECCOMP_RET_ERRNO | EPERM;
	default:
		return SECCOMP_RET_ALLOW;
	}
}
