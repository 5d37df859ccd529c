#include "seccomp_filter.h"

SEC("seccomp/rotations") int rotations(const struct seccomp_data *data)
{
	__u64 a = data->args[0], b = data->args[1];
	a = a << 13 | a >> 51;
	b = (b >> 7 | b << 57) ^ a;
	__u32 c = (__u32)b << 5 | (__u32)b >> 27;
	return c ^ (__u32)(a >> 32) ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/divisions") int divisions(const struct seccomp_data *data)
{
	__u64 pages = data->args[1] / 4096, rest = data->args[1] % 4096;
	__u32 part = (__u32)data->nr / 10, digit = (__u32)data->nr % 10;
	__u64 by = data->args[2] | 1;
	return pages > 10 || rest || part == digit || data->args[3] / by > 3 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/signed_ranges") int signed_ranges(const struct seccomp_data *data)
{
	int fd = (int)data->args[0];
	long offset = (long)data->args[1];
	if (fd < 0 || fd > 1024 || offset < -4096 || offset > 4096)
		return SECCOMP_RET_ERRNO | EBADF;
	return offset >> 3 == fd ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/overflow_checks") int overflow_checks(const struct seccomp_data *data)
{
	__u64 start = data->args[0], len = data->args[1];
	if (start + len < start || start + len > 0x7fffffffffffULL)
		return SECCOMP_RET_ERRNO | EINVAL;
	return len & 4095 ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/halves") int halves(const struct seccomp_data *data)
{
	__u32 low = data->args[0], high = data->args[0] >> 32;
	__u16 a = data->args[1], b = data->args[1] >> 16;
	__u8 c = data->args[2], d = data->args[2] >> 8;
	return low == high && (a ^ b) == (c ^ d) ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/byte_orders") int byte_orders(const struct seccomp_data *data)
{
	__u16 port = __builtin_bswap16((__u16)data->args[0]);
	__u32 address = __builtin_bswap32((__u32)data->args[1]);
	__u64 wide = __builtin_bswap64(data->args[2]);
	return port == 443 && address >> 24 == 127 && wide > 7 ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/powers_of_two") int powers_of_two(const struct seccomp_data *data)
{
	__u64 size = data->args[0];
	__u64 aligned = (size + 4095) & ~4095ULL;
	return size && !(size & (size - 1)) && aligned < 1 << 30 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EINVAL;
}

SEC("seccomp/shift_by_an_argument") int shift_by_an_argument(const struct seccomp_data *data)
{
	__u64 mask = 1ULL << (data->args[0] & 63);
	return mask & 0x8000000f00000007ULL ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM;
}

SEC("seccomp/index_by_arithmetic") int index_by_arithmetic(const struct seccomp_data *data)
{
	__u8 table[64] = { 1, 2, 3 };
	__u32 row = data->args[0] & 7, column = (data->args[1] >> 5) & 7;
	table[row * 8 + column] = data->nr;
	return table[(row + column) * 2] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/index_by_remainder") int index_by_remainder(const struct seccomp_data *data)
{
	__u32 table[10] = { 5, 6, 7 };
	__u32 index = (__u32)data->args[0] % 10;
	table[index] = data->nr;
	return table[3] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/index_between") int index_between(const struct seccomp_data *data)
{
	__u64 table[8] = { 9 };
	long index = (long)data->args[0];
	if (index >= 2 && index < 10)
		table[index - 2] = data->nr;
	return table[0] + table[7] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/minimum") int minimum(const struct seccomp_data *data)
{
	__u8 bytes[32] = {};
	__u32 a = data->args[0], b = data->args[1];
	__u32 least = a < b ? a : b;
	if (least < 32)
		bytes[least] = 1;
	return bytes[5] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/copied_number_is_checked") int copied_number_is_checked(const struct seccomp_data *data)
{
	__u8 bytes[32] = {};
	__u64 a = data->args[0];
	__u64 copy = a;
	if (copy < 16)
		bytes[a + 3] = 1;
	return bytes[data->nr & 31] ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
}

SEC("seccomp/bad_quotient_too_large") int bad_quotient_too_large(const struct seccomp_data *data)
{
	__u8 bytes[32] = {};
	__u32 a = data->args[0] & 255;
	bytes[a / 4] = 1;
	return bytes[data->nr & 31];
}

SEC("seccomp/bad_wrapping_sum") int bad_wrapping_sum(const struct seccomp_data *data)
{
	__u8 bytes[32] = {};
	__u64 at = data->args[0], len = data->args[1];
	/* The sum wraps around. */
	if (at + len < 32)
		bytes[at] = 1;
	return bytes[data->nr & 31];
}

SEC("seccomp/bad_check_of_the_low_half") int bad_check_of_the_low_half(const struct seccomp_data *data)
{
	__u8 bytes[32] = {};
	__u64 at = data->args[0];
	if ((__u32)at < 32)
		bytes[at] = 1;
	return bytes[data->nr & 31];
}

SEC("seccomp/bad_off_by_one") int bad_off_by_one(const struct seccomp_data *data)
{
	__u8 bytes[32] = {};
	__u64 at = data->args[0];
	if (at <= 32)
		bytes[at] = 1;
	return bytes[data->nr & 31];
}
