#include "seccomp_filter.h"

static const char allowed[] = "/usr/lib/";

SEC("seccomp/first_byte") int first_byte(const struct seccomp_data *data)
{
	char byte;
	if (bpf_probe_read_user(&byte, 1, (void *)data->args[1]))
		return SECCOMP_RET_ERRNO | EFAULT;
	return byte == '/' ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EACCES;
}

SEC("seccomp/compare_with_a_constant") int compare_with_a_constant(const struct seccomp_data *data)
{
	char path[32];
	if (bpf_probe_read_user_str(path, sizeof(path), (void *)data->args[1]) < 0)
		return SECCOMP_RET_ERRNO | EFAULT;
	for (__u32 i = 0; i < sizeof(allowed) - 1; i++)
		if (path[i] != allowed[i])
			return SECCOMP_RET_ERRNO | EACCES;
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/ends_with") int ends_with(const struct seccomp_data *data)
{
	char path[64];
	long len = bpf_probe_read_user_str(path, sizeof(path), (void *)data->args[0]);
	if (len < 5 || len > 64)
		return SECCOMP_RET_ALLOW;
	return path[len - 4] == '.' && path[len - 3] == 's' && path[len - 2] == 'o' ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/copy_upper_case") int copy_upper_case(const struct seccomp_data *data)
{
	char name[16], upper[16] = {};
	bpf_get_current_comm(name, sizeof(name));
	for (int i = 0; i < 15 && name[i]; i++)
		upper[i] = name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i];
	return upper[0] == 'S' && upper[1] == 'H' ? SECCOMP_RET_ERRNO | (data->nr & 1) : SECCOMP_RET_ALLOW;
}

SEC("seccomp/length") int length(const struct seccomp_data *data)
{
	char name[16];
	__u32 len = 0;
	bpf_get_current_comm(name, sizeof(name));
	while (len < sizeof(name) && name[len])
		len++;
	return len == (__u32)data->nr ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/words_of_a_name") int words_of_a_name(const struct seccomp_data *data)
{
	union {
		char bytes[16];
		__u64 words[2];
	} name;
	bpf_get_current_comm(name.bytes, sizeof(name));
	return name.words[0] == 0x6873 && data->nr ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/read_so_many") int read_so_many(const struct seccomp_data *data)
{
	char buffer[64] = {};
	__u32 len = data->args[2];
	if (len > sizeof(buffer))
		len = sizeof(buffer);
	if (bpf_probe_read_user(buffer, len, (void *)data->args[1]))
		return SECCOMP_RET_ERRNO | EFAULT;
	return buffer[0] == '#' && buffer[1] == '!' ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/structs_of_user_space") int structs_of_user_space(const struct seccomp_data *data)
{
	struct { __u64 base, len; } vectors[4];
	__u64 sum = 0;
	if (bpf_probe_read_user(vectors, sizeof(vectors), (void *)data->args[1]))
		return SECCOMP_RET_ERRNO | EFAULT;
	for (int i = 0; i < 4; i++)
		sum += vectors[i].len;
	return sum > 1 << 20 ? SECCOMP_RET_ERRNO | E2BIG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_read_too_much") int bad_read_too_much(const struct seccomp_data *data)
{
	char buffer[16];
	if (bpf_probe_read_user(buffer, 32, (void *)data->args[1]))
		return SECCOMP_RET_ERRNO | EFAULT;
	return buffer[data->nr & 15];
}

SEC("seccomp/bad_length_of_the_user") int bad_length_of_the_user(const struct seccomp_data *data)
{
	char buffer[64];
	if (bpf_probe_read_user(buffer, data->args[2], (void *)data->args[1]))
		return SECCOMP_RET_ERRNO | EFAULT;
	return buffer[data->nr & 63];
}

SEC("seccomp/bad_follow_a_user_pointer") int bad_follow_a_user_pointer(const struct seccomp_data *data)
{
	return *(char *)data->args[1] == '/' ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EACCES;
}

SEC("seccomp/bad_length_unchecked") int bad_length_unchecked(const struct seccomp_data *data)
{
	char path[64];
	long len = bpf_probe_read_user_str(path, sizeof(path), (void *)data->args[0]);
	return path[len - 1] == 0 ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW;
}

SEC("seccomp/bad_return_an_address") int bad_return_an_address(const struct seccomp_data *data)
{
	char name[16];
	bpf_get_current_comm(name, sizeof(name));
	long address = (long)name;
	return data->nr ? address : 0;
}
