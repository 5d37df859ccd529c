/* Everything under this filter together may call execve 4 times; then it gets EPERM. */
#include "seccomp_filter.h"

#define MAX_EXECS 4

/* One entry for each call. Making an entry is atomic, so two processes cannot both take the last one, which they
 * could with a counter. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_EXECS);
	__type(key, __u32);
	__type(value, __u64);
} execs SEC(".maps");

SEC("seccomp") int max_execs(const struct seccomp_data *data)
{
	if (!is_x86_64(data))
		return SECCOMP_RET_KILL_PROCESS;
	if (data->nr != __NR_execve && data->nr != __NR_execveat)
		return SECCOMP_RET_ALLOW;

	/* Who took the place, for whoever reads the map. */
	__u64 caller = bpf_get_current_pid_tgid();
	/* A call that then fails, because there is no such file, counts too. */
	for (__u32 place = 0; place < MAX_EXECS; place++)
		if (!bpf_map_update_elem(&execs, &place, &caller, BPF_NOEXIST))
			return SECCOMP_RET_ALLOW;
	return SECCOMP_RET_ERRNO | EPERM;
}
