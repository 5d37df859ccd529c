#include "seccomp_filter.h"

struct request {
	__u32 nr;
	__u32 flags;
	__u64 low, high;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

static __noinline __u32 mix(__u32 a, __u32 b)
{
	a ^= b << 7;
	a *= 0x9e3779b1;
	return a ^ a >> 15;
}

static __noinline int in_range(const struct request *request)
{
	return request->low <= request->high && request->high - request->low < 4096;
}

static __noinline void fill(struct request *request, const struct seccomp_data *data)
{
	request->nr = data->nr;
	request->flags = data->args[2];
	request->low = data->args[0];
	request->high = data->args[1];
}

static __noinline __u64 *slot(__u32 index)
{
	return bpf_map_lookup_elem(&table, &index);
}

static __noinline __u32 deep3(__u32 a) { return mix(a, 3); }
static __noinline __u32 deep2(__u32 a) { return deep3(a) + mix(a, 2); }
static __noinline __u32 deep1(__u32 a) { return deep2(a) + 1; }

SEC("seccomp/hash_of_arguments") int hash_of_arguments(const struct seccomp_data *data)
{
	__u32 hash = data->nr;
	for (int i = 0; i < 6; i++)
		hash = mix(hash, data->args[i]);
	return hash & 1 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/struct_by_pointer") int struct_by_pointer(const struct seccomp_data *data)
{
	struct request request;
	fill(&request, data);
	if (request.flags & 4)
		return SECCOMP_RET_ERRNO | EINVAL;
	return in_range(&request) ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM;
}

SEC("seccomp/pointer_returned") int pointer_returned(const struct seccomp_data *data)
{
	__u64 *value = slot(data->nr & 3);
	if (!value)
		return SECCOMP_RET_KILL_THREAD;
	*value += 1;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/four_deep") int four_deep(const struct seccomp_data *data)
{
	return deep1(data->nr) > 5 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

static __noinline int deny_big(__u64 value, __u64 limit, int error, __u32 otherwise)
{
	return value > limit ? SECCOMP_RET_ERRNO | (error & 0xfff) : otherwise;
}

SEC("seccomp/many_arguments") int many_arguments(const struct seccomp_data *data)
{
	return deny_big(data->args[1], 1 << 20, E2BIG, SECCOMP_RET_ALLOW);
}

static __noinline void put(__u8 *buffer, __u32 at, __u8 byte)
{
	if (at < 16)
		buffer[at] = byte;
}

SEC("seccomp/buffer_by_pointer") int buffer_by_pointer(const struct seccomp_data *data)
{
	__u8 buffer[16] = {};
	for (int i = 0; i < 6; i++)
		put(buffer, data->args[i], i);
	return buffer[3] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/bad_unchecked_result") int bad_unchecked_result(const struct seccomp_data *data)
{
	*slot(data->nr & 3) += 1;
	return SECCOMP_RET_ALLOW;
}

static __noinline int recurse(__u32 depth)
{
	if (bpf_get_prandom_u32() < depth)
		return 1 + recurse(depth - 1) + mix(depth, 1);
	return 2;
}

SEC("seccomp/bad_recursion") int bad_recursion(const struct seccomp_data *data)
{
	return recurse(data->nr);
}

static __noinline __u64 big_frame(__u64 seed)
{
	volatile __u64 values[40];
	for (int i = 0; i < 40; i++)
		values[i] = seed + i;
	return values[seed & 31];
}

SEC("seccomp/bad_two_big_frames") int bad_two_big_frames(const struct seccomp_data *data)
{
	volatile __u64 values[40];
	for (int i = 0; i < 40; i++)
		values[i] = data->nr;
	return big_frame(values[data->nr & 31]) > 3;
}

static __noinline void put_far(__u8 *buffer, __u32 at)
{
	if (at < 32)
		buffer[at] = 1;
}

SEC("seccomp/bad_write_past_the_callers_buffer") int bad_write_past_the_callers_buffer(const struct seccomp_data *data)
{
	__u8 buffer[16] = {};
	put_far(buffer, data->args[0]);
	put_far(buffer + 8, data->args[1]);
	return buffer[3] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}
