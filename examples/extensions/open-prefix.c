/* Files can be opened below some directories only; others are EACCES.
 *
 * What this promises: a program that only makes calls as it was written opens nothing else by name. What it does not:
 *
 * - The path is a snapshot. Another thread can write another name there after the filter has read it and before the
 *   kernel does, unless the kernel says that it uses the filter's copy.
 * - A name is not a file. Symbolic links below these directories lead anywhere, and so does a directory that is
 *   mounted there. Names that do not begin with / are refused, since the filter does not know where they begin.
 * - There are more ways to a file than openat: the others that open by name are refused here, but descriptors also
 *   come over sockets.
 *
 * For a boundary that holds against the program itself, use the kernel's (Landlock, mount namespaces). */
#include "seccomp_filter.h"

/* Longer names are refused. */
#define MAX_PATH 128
#define MAX_PREFIX 16

static const char prefixes[][MAX_PREFIX] = { "/usr/", "/lib/", "/lib64/", "/etc/ld.so.", "/proc/self/", "/dev/null" };

static __noinline int begins_with(const char *path, const char *prefix)
{
	for (__u32 i = 0; i < MAX_PREFIX; i++) {
		if (!prefix[i])
			return 1;
		if (path[i] != prefix[i])
			return 0;
	}
	return 0;
}

/* Whether a name goes up somewhere. */
static __noinline int has_dots(const char *path)
{
	for (__u32 i = 0; i + 2 < MAX_PATH && path[i]; i++)
		if (path[i] == '/' && path[i + 1] == '.' && path[i + 2] == '.')
			return 1;
	return 0;
}

SEC("seccomp") int open_prefix(const struct seccomp_data *data)
{
	if (!is_x86_64(data))
		return SECCOMP_RET_KILL_PROCESS;
	if (data->nr == __NR_open || data->nr == __NR_creat)
		return SECCOMP_RET_ERRNO | EACCES;
	if (data->nr == __NR_openat2 || data->nr == __NR_io_uring_setup)
		return SECCOMP_RET_ERRNO | ENOSYS;
	if (data->nr != __NR_openat)
		return SECCOMP_RET_ALLOW;

	char path[MAX_PATH];
	long len = bpf_probe_read_user_str(path, sizeof(path), (void *)data->args[1]);
	if (len < 0)
		return SECCOMP_RET_ERRNO | EFAULT;
	/* A name that fills all of it may have been cut short. */
	if (len == MAX_PATH || has_dots(path))
		return SECCOMP_RET_ERRNO | EACCES;
	for (__u32 i = 0; i < sizeof(prefixes) / MAX_PREFIX; i++)
		if (begins_with(path, prefixes[i]))
			return SECCOMP_RET_ALLOW;
	return SECCOMP_RET_ERRNO | EACCES;
}
