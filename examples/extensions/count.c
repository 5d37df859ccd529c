/* Counts calls by number and lets them all run. The map has the counts; a process that ends prints which call there
 * were most of. */
#include "seccomp_filter.h"

#define CALLS 512

/* Threads that make the same call at once may be counted as one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CALLS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

__u64 most;
__u32 which;
/* Calls of other entries and with numbers from 512. */
__u64 others;

SEC("seccomp") int count(const struct seccomp_data *data)
{
	__u32 nr = data->nr;
	__u64 *times = is_x86_64(data) ? bpf_map_lookup_elem(&counts, &nr) : 0;
	if (!times) {
		others++;
		return SECCOMP_RET_ALLOW;
	}
	if (++*times > most) {
		most = *times;
		which = nr;
	}
	if (nr == __NR_exit_group)
		bpf_printk("%d ends: call %d was made %llu times", bpf_get_current_pid_tgid() >> 32, which, most);
	return SECCOMP_RET_ALLOW;
}
