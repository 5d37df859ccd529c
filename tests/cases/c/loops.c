#include "seccomp_filter.h"

const volatile __u32 many = 5;
const volatile __u32 denied[8] = { 59, 322, 101, 165, 166, 272, 308, 321 };

SEC("seccomp/sum_of_arguments") int sum_of_arguments(const struct seccomp_data *data)
{
	__u64 sum = 0;
	for (int i = 0; i < 6; i++)
		sum += data->args[i];
	return sum > 1000 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/list_of_calls") int list_of_calls(const struct seccomp_data *data)
{
	for (__u32 i = 0; i < 8; i++)
		if ((__u32)data->nr == denied[i])
			return SECCOMP_RET_ERRNO | EPERM;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bit_count") int bit_count(const struct seccomp_data *data)
{
	__u64 mask = data->args[2];
	int bits = 0;
	for (int i = 0; i < 64; i++) {
		bits += mask & 1;
		mask >>= 1;
	}
	return bits < 8 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EINVAL;
}

SEC("seccomp/loops_in_loops") int loops_in_loops(const struct seccomp_data *data)
{
	__u32 hash = data->nr;
	for (int round = 0; round < 4; round++)
		for (int i = 0; i < 6; i++)
			hash = hash * 31 + (__u32)data->args[i];
	return hash & 1 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/clamped_count") int clamped_count(const struct seccomp_data *data)
{
	__u32 count = data->args[0];
	__u32 sum = 0;
	if (count > 20)
		count = 20;
	for (__u32 i = 0; i < count; i++)
		sum += bpf_get_prandom_u32();
	return sum ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/early_exit") int early_exit(const struct seccomp_data *data)
{
	__u32 found = 0;
	for (__u32 i = 0; i < 100; i++) {
		if (bpf_get_prandom_u32() == (__u32)data->nr) {
			found = i;
			break;
		}
	}
	return found ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/down_to_zero") int down_to_zero(const struct seccomp_data *data)
{
	__u64 value = data->args[1];
	for (int i = 15; i >= 0; i--)
		value ^= value << (i & 7);
	return value ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/array_on_the_stack") int array_on_the_stack(const struct seccomp_data *data)
{
	__u32 counts[8] = {};
	for (int i = 0; i < 6; i++)
		counts[data->args[i] & 7]++;
	for (int i = 0; i < 8; i++)
		if (counts[i] > 3)
			return SECCOMP_RET_ERRNO | EINVAL;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/largest") int largest(const struct seccomp_data *data)
{
	__u64 values[6], most = 0;
	for (int i = 0; i < 6; i++)
		values[i] = data->args[i] >> 3;
	for (int i = 0; i < 6; i++)
		if (values[i] > most)
			most = values[i];
	return most > 4096 ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_endless") int bad_endless(const struct seccomp_data *data)
{
	volatile __u32 nr = data->nr;
	while (nr != 7)
		;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_bound_from_user") int bad_bound_from_user(const struct seccomp_data *data)
{
	__u32 sum = 0;
	for (__u64 i = 0; i < data->args[0]; i++)
		sum += bpf_get_prandom_u32();
	return sum;
}

SEC("seccomp/bad_index_past_the_end") int bad_index_past_the_end(const struct seccomp_data *data)
{
	__u64 values[4] = { 1, 2, 3, 4 };
	__u64 index = data->args[0];
	if (index > 100)
		return SECCOMP_RET_ALLOW;
	values[index] = data->nr;
	return values[bpf_get_prandom_u32() & 3];
}

SEC("seccomp/bad_signed_bound") int bad_signed_bound(const struct seccomp_data *data)
{
	__u64 values[4] = { 1, 2, 3, 4 };
	int index = (int)data->args[0];
	if (index >= 4)
		return SECCOMP_RET_ALLOW;
	values[index] = data->nr;
	return values[bpf_get_prandom_u32() & 3];
}

SEC("seccomp/bad_wide_mask") int bad_wide_mask(const struct seccomp_data *data)
{
	__u32 counts[8] = {};
	for (int i = 0; i < 6; i++)
		counts[data->args[i] & 15]++;
	return counts[bpf_get_prandom_u32() & 7];
}
