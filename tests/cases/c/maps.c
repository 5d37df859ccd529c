#include "seccomp_filter.h"

struct key {
	__u32 nr;
	__u32 arch;
};

struct value {
	__u64 count;
	__u64 last;
	__u32 flags;
	char name[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, struct value);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64[4]);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u32);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, __u32);
} limits SEC(".maps");

SEC("seccomp/count_calls") int count_calls(const struct seccomp_data *data)
{
	struct key key = { data->nr, data->arch };
	struct value *value = bpf_map_lookup_elem(&calls, &key);
	if (value) {
		value->count++;
		value->last = bpf_ktime_get_ns();
		return SECCOMP_RET_ALLOW;
	}
	struct value first = { .count = 1, .flags = 3 };
	bpf_map_update_elem(&calls, &key, &first, BPF_NOEXIST);
	return SECCOMP_RET_LOG;
}

SEC("seccomp/checked_by_return") int checked_by_return(const struct seccomp_data *data)
{
	__u32 index = data->nr & 15;
	__u64(*row)[4] = bpf_map_lookup_elem(&table, &index);
	if (!row)
		return SECCOMP_RET_KILL_PROCESS;
	(*row)[data->args[0] & 3] += 1;
	return (*row)[0] > 100 ? SECCOMP_RET_ERRNO | EAGAIN : SECCOMP_RET_ALLOW;
}

SEC("seccomp/two_lookups") int two_lookups(const struct seccomp_data *data)
{
	__u32 from = 1, to = 2;
	__u64 *a = bpf_map_lookup_elem(&table, &from);
	__u64 *b = bpf_map_lookup_elem(&table, &to);
	if (!a || !b)
		return SECCOMP_RET_ALLOW;
	b[3] = a[0] + data->args[0];
	return b[3] > a[1] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/lookup_or_make") int lookup_or_make(const struct seccomp_data *data)
{
	__u64 key = bpf_get_current_pid_tgid() >> 32;
	__u32 *seen = bpf_map_lookup_elem(&recent, &key);
	if (!seen) {
		__u32 zero = 0;
		bpf_map_update_elem(&recent, &key, &zero, BPF_ANY);
		seen = bpf_map_lookup_elem(&recent, &key);
		if (!seen)
			return SECCOMP_RET_ERRNO | ENOMEM;
	}
	*seen |= 1U << (data->nr & 31);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/delete_and_forget") int delete_and_forget(const struct seccomp_data *data)
{
	__u64 key = data->args[0];
	if (data->nr == __NR_close)
		return bpf_map_delete_elem(&recent, &key) ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
	__u32 one = 1;
	long error = bpf_map_update_elem(&recent, &key, &one, BPF_ANY);
	return error ? SECCOMP_RET_ERRNO | (-error & 0xfff) : SECCOMP_RET_ALLOW;
}

SEC("seccomp/read_only_limit") int read_only_limit(const struct seccomp_data *data)
{
	__u32 index = data->nr & 3;
	__u32 *limit = bpf_map_lookup_elem(&limits, &index);
	return limit && data->args[2] > *limit ? SECCOMP_RET_ERRNO | E2BIG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/one_of_two_maps") int one_of_two_maps(const struct seccomp_data *data)
{
	__u32 index = 0;
	__u64 key = 0;
	void *value;
	if (data->nr & 1)
		value = bpf_map_lookup_elem(&table, &index);
	else
		value = bpf_map_lookup_elem(&recent, &key);
	return value ? *(__u32 *)value : SECCOMP_RET_ALLOW;
}

SEC("seccomp/all_of_an_array") int all_of_an_array(const struct seccomp_data *data)
{
	__u64 sum = 0;
	for (__u32 i = 0; i < 16; i++) {
		__u32 key = i;
		__u64 *row = bpf_map_lookup_elem(&table, &key);
		if (row)
			sum += row[1];
	}
	return sum > data->args[0] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/name_in_a_value") int name_in_a_value(const struct seccomp_data *data)
{
	struct key key = { data->nr, 0 };
	struct value value = { .count = 2 };
	bpf_get_current_comm(value.name, sizeof(value.name));
	bpf_map_update_elem(&calls, &key, &value, BPF_ANY);
	struct value *found = bpf_map_lookup_elem(&calls, &key);
	if (found && found->name[0] == 's' && found->name[1] == 'h')
		return SECCOMP_RET_LOG;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/comm_straight_into_a_value") int comm_straight_into_a_value(const struct seccomp_data *data)
{
	struct key key = { data->nr, 0 };
	struct value *value = bpf_map_lookup_elem(&calls, &key);
	if (value)
		bpf_get_current_comm(value->name, sizeof(value->name));
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bounded_index_into_a_value") int bounded_index_into_a_value(const struct seccomp_data *data)
{
	struct key key = { data->nr, 0 };
	struct value *value = bpf_map_lookup_elem(&calls, &key);
	__u32 at = data->args[1];
	if (value && at < sizeof(value->name))
		value->name[at] = 'x';
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_no_check") int bad_no_check(const struct seccomp_data *data)
{
	__u32 index = data->nr;
	__u64 *row = bpf_map_lookup_elem(&table, &index);
	row[0]++;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_check_of_another") int bad_check_of_another(const struct seccomp_data *data)
{
	__u32 index = data->nr;
	__u64 *row = bpf_map_lookup_elem(&table, &index);
	index = data->arch & 15;
	__u64 *other = bpf_map_lookup_elem(&table, &index);
	if (!row)
		return SECCOMP_RET_LOG;
	return other[0] == row[0];
}

SEC("seccomp/bad_past_the_value") int bad_past_the_value(const struct seccomp_data *data)
{
	__u32 index = data->nr;
	__u64 *row = bpf_map_lookup_elem(&table, &index);
	return row ? row[4] > 0 : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_unbounded_index") int bad_unbounded_index(const struct seccomp_data *data)
{
	__u32 index = data->nr;
	__u64 *row = bpf_map_lookup_elem(&table, &index);
	return row ? row[data->args[0] & 7] > 0 : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_before_the_value") int bad_before_the_value(const struct seccomp_data *data)
{
	__u32 index = data->nr;
	__u64 *row = bpf_map_lookup_elem(&table, &index);
	if (row)
		row[-1] = 1;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_write_to_read_only") int bad_write_to_read_only(const struct seccomp_data *data)
{
	__u32 index = data->nr & 3;
	__u32 *limit = bpf_map_lookup_elem(&limits, &index);
	if (limit)
		*limit = 7;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_update_of_read_only") int bad_update_of_read_only(const struct seccomp_data *data)
{
	__u32 index = data->nr & 3, value = 1;
	return bpf_map_update_elem(&limits, &index, &value, BPF_ANY) ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_short_key") int bad_short_key(const struct seccomp_data *data)
{
	__u32 key = data->nr;
	return bpf_map_lookup_elem(&calls, &key) ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_pointer_in_a_value") int bad_pointer_in_a_value(const struct seccomp_data *data)
{
	__u32 index = 0;
	__u64 *row = bpf_map_lookup_elem(&table, &index);
	if (row)
		row[0] = (__u64)row + data->nr;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_no_map") int bad_no_map(const struct seccomp_data *data)
{
	__u64 key = data->nr;
	return bpf_map_lookup_elem(&key, &key) ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}
