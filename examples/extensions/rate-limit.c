/* A process may delete 8 files at once and 4 more each second; then it gets EAGAIN. */
#include "seccomp_filter.h"

#define BURST 8
#define NS_PER_TOKEN 250000000ULL

struct bucket {
	__u64 filled_at;
	__u64 tokens;
};

/* Threads of a process share a bucket, and may now and then both take the last token. A child begins with a copy:
 * forking gives no process more tokens than it had. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(max_entries, 4096);
	__uint(scope, SCOPE_THREAD_GROUP);
	__uint(at_fork, AT_FORK_COPY);
	__type(key, int);
	__type(value, struct bucket);
} buckets SEC(".maps");

SEC("seccomp") int rate_limit(const struct seccomp_data *data)
{
	if (!is_x86_64(data))
		return SECCOMP_RET_KILL_PROCESS;
	if (data->nr != __NR_unlink && data->nr != __NR_unlinkat && data->nr != __NR_rmdir)
		return SECCOMP_RET_ALLOW;

	struct bucket *bucket = bpf_task_storage_get(&buckets, 0, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!bucket)
		/* More processes than there are buckets. */
		return SECCOMP_RET_ERRNO | EAGAIN;

	__u64 now = bpf_ktime_get_ns();
	__u64 tokens = bucket->tokens;
	if (!bucket->filled_at) {
		bucket->filled_at = now;
		tokens = BURST;
	}
	__u64 more = (now - bucket->filled_at) / NS_PER_TOKEN;
	if (more) {
		bucket->filled_at += more * NS_PER_TOKEN;
		tokens += more;
		if (tokens > BURST)
			tokens = BURST;
	}
	bucket->tokens = tokens ? tokens - 1 : 0;
	return tokens ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EAGAIN;
}
