/* No connection to the ports of mail servers: connect gets EACCES.
 *
 * The address is a snapshot: a program with two threads can change the port after the filter has read it and before
 * the kernel does, unless the kernel says that it uses the filter's copy. So this stops a program that does not know
 * better, and records what it wanted; against one that is out for it, deny sockets. Calls that connect without
 * connect (sendto with MSG_FASTOPEN, io_uring) are another line each. */
#include "seccomp_filter.h"

#define AF_INET 2
#define AF_INET6 10

/* What sockaddr_in and sockaddr_in6 begin with; the port is big-endian. */
struct address {
	__u16 family;
	__u16 port;
};

const volatile __u16 denied[] = { 25, 465, 587 };

/* Who tried what. */
struct event {
	__u32 pid;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("seccomp") int deny_connect(const struct seccomp_data *data)
{
	if (!is_x86_64(data))
		return SECCOMP_RET_KILL_PROCESS;
	if (data->nr != __NR_connect)
		return SECCOMP_RET_ALLOW;

	struct address address;
	if (bpf_probe_read_user(&address, sizeof(address), (void *)data->args[1]))
		return SECCOMP_RET_ERRNO | EFAULT;
	if (address.family != AF_INET && address.family != AF_INET6)
		return SECCOMP_RET_ALLOW;

	__u16 port = __builtin_bswap16(address.port);
	for (__u32 i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		if (port != denied[i])
			continue;
		struct event event = { bpf_get_current_pid_tgid(), port };
		bpf_ringbuf_output(&events, &event, sizeof(event), 0);
		return SECCOMP_RET_ERRNO | EACCES;
	}
	return SECCOMP_RET_ALLOW;
}
