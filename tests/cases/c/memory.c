#include "seccomp_filter.h"

struct record {
	__u64 time;
	__u32 pid, nr;
	__u64 args[6];
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} last SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

__u64 calls;
static __u32 per_call[64];
static struct record copy;
__u32 threshold = 100;
const volatile __u32 limits[4] = { 10, 20, 30, 40 };

SEC("seccomp/struct_on_the_stack") int struct_on_the_stack(const struct seccomp_data *data)
{
	struct record record = { .time = bpf_ktime_get_ns(), .pid = bpf_get_current_pid_tgid(), .nr = data->nr };
	for (int i = 0; i < 6; i++)
		record.args[i] = data->args[i];
	bpf_get_current_comm(record.comm, sizeof(record.comm));
	__u32 zero = 0;
	bpf_map_update_elem(&last, &zero, &record, BPF_ANY);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/struct_copied_out") int struct_copied_out(const struct seccomp_data *data)
{
	__u32 zero = 0;
	struct record *found = bpf_map_lookup_elem(&last, &zero);
	if (!found)
		return SECCOMP_RET_ALLOW;
	struct record record = *found;
	record.nr = data->nr;
	*found = record;
	return record.args[2] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/builtins") int builtins(const struct seccomp_data *data)
{
	__u8 a[48], b[48];
	__builtin_memset(a, 0, sizeof(a));
	a[data->nr & 31] = 7;
	__builtin_memcpy(b, a, sizeof(b));
	__builtin_memset(b + 8, 0xff, 16);
	return b[9] && a[4] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/context_copied") int context_copied(const struct seccomp_data *data)
{
	struct seccomp_data own;
	own.nr = data->nr;
	own.arch = data->arch;
	own.instruction_pointer = data->instruction_pointer;
	for (int i = 0; i < 6; i++)
		own.args[i] = data->args[i];
	own.args[own.nr & 3] = 1;
	return own.args[0] == own.args[1] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/event_output") int event_output(const struct seccomp_data *data)
{
	struct { __u32 nr, pid; } event = { data->nr, bpf_get_current_pid_tgid() >> 32 };
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/event_reserved") int event_reserved(const struct seccomp_data *data)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return SECCOMP_RET_LOG;
	record->nr = data->nr;
	record->time = bpf_ktime_get_ns();
	for (int i = 0; i < 6; i++)
		record->args[i] = data->args[i];
	if (data->nr == __NR_getpid)
		bpf_ringbuf_discard(record, 0);
	else
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/global_counters") int global_counters(const struct seccomp_data *data)
{
	calls++;
	per_call[data->nr & 63]++;
	return calls > threshold ? SECCOMP_RET_ERRNO | EAGAIN : SECCOMP_RET_ALLOW;
}

SEC("seccomp/global_struct") int global_struct(const struct seccomp_data *data)
{
	copy.time += bpf_ktime_get_ns();
	copy.args[data->nr & 3] = data->args[0];
	for (__u32 i = 0; i < 6; i++)
		if (copy.args[i] == data->args[1])
			return SECCOMP_RET_LOG;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/global_constants") int global_constants(const struct seccomp_data *data)
{
	__u32 index = data->nr;
	return index < 4 && data->args[0] > limits[index] ? SECCOMP_RET_ERRNO | E2BIG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/printed") int printed(const struct seccomp_data *data)
{
	bpf_printk("call %d with %llx", data->nr, data->args[0]);
	bpf_printk("again");
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/pointers_on_the_stack") int pointers_on_the_stack(const struct seccomp_data *data)
{
	__u64 a = data->args[0], b = data->args[1];
	__u64 *volatile pick = data->nr & 1 ? &a : &b;
	*pick = 7;
	return a == b ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/many_live_values") int many_live_values(const struct seccomp_data *data)
{
	__u64 a = data->args[0], b = data->args[1], c = data->args[2], d = data->args[3], e = data->args[4];
	__u64 x = bpf_ktime_get_ns(), y = bpf_get_prandom_u32(), z = bpf_get_current_uid_gid();
	__u64 w = bpf_get_current_pid_tgid();
	return (a ^ x) + (b ^ y) + (c ^ z) + (d ^ w) > e * a + b * c ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/bad_uninitialised_struct") int bad_uninitialised_struct(const struct seccomp_data *data)
{
	struct record record;
	record.nr = data->nr;
	__u32 zero = 0;
	bpf_map_update_elem(&last, &zero, &record, BPF_ANY);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_reservation_unchecked") int bad_reservation_unchecked(const struct seccomp_data *data)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	record->nr = data->nr;
	bpf_ringbuf_submit(record, 0);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_past_the_reservation") int bad_past_the_reservation(const struct seccomp_data *data)
{
	__u32 *event = bpf_ringbuf_reserve(&events, 8, 0);
	if (!event)
		return SECCOMP_RET_LOG;
	event[2] = data->nr;
	bpf_ringbuf_submit(event, 0);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_reservation_of_any_size") int bad_reservation_of_any_size(const struct seccomp_data *data)
{
	__u32 *event = bpf_ringbuf_reserve(&events, data->args[0] & 63, 0);
	if (!event)
		return SECCOMP_RET_LOG;
	bpf_ringbuf_discard(event, 0);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_global_index") int bad_global_index(const struct seccomp_data *data)
{
	per_call[data->nr & 4095]++;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_write_to_a_constant") int bad_write_to_a_constant(const struct seccomp_data *data)
{
	*(volatile __u32 *)&limits[1] = data->nr;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_below_the_stack") int bad_below_the_stack(const struct seccomp_data *data)
{
	char name[16];
	__u64 below = 512;
	asm volatile("" : "+r"(below));
	bpf_get_current_comm(name, sizeof(name));
	bpf_get_current_comm(name - below, sizeof(name));
	return name[data->nr & 15];
}

/* Fine here, and not in Linux: what is reserved is submitted when the filter ends. */
SEC("seccomp/event_never_submitted") int event_never_submitted(const struct seccomp_data *data)
{
	__u32 *event = bpf_ringbuf_reserve(&events, 8, 0);
	if (event)
		*event = data->nr;
	return SECCOMP_RET_ALLOW;
}
