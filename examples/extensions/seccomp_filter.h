/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What a filter in C needs; clang needs nothing else:
 *
 *     clang -target bpf -O2 -g -c filter.c
 *
 * A filter is a global function in the section "seccomp". It gets the call and returns one of SECCOMP_RET_*, with
 * data in the low 16 bits:
 *
 *     SEC("seccomp") int filter(const struct seccomp_data *data) { return SECCOMP_RET_ALLOW; }
 */
#ifndef SECCOMP_FILTER_H
#define SECCOMP_FILTER_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))

/* The call. Filters see it as the thread's registers had it at its entry; nothing changes it afterwards. */
struct seccomp_data {
	int nr;
	__u32 arch;
	__u64 instruction_pointer;
	__u64 args[6];
};

/* What becomes of the call. If several filters answer, the first in this list counts. */
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#define SECCOMP_RET_KILL_THREAD 0x00000000U
#define SECCOMP_RET_TRAP 0x00030000U
#define SECCOMP_RET_ERRNO 0x00050000U /* | errno; 0 is success */
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#define SECCOMP_RET_TRACE 0x7ff00000U
#define SECCOMP_RET_LOG 0x7ffc0000U
#define SECCOMP_RET_ALLOW 0x7fff0000U

#define SECCOMP_RET_ACTION_FULL 0xffff0000U
#define SECCOMP_RET_DATA 0x0000ffffU

#define AUDIT_ARCH_X86_64 0xc000003eU
#define AUDIT_ARCH_I386 0x40000003U
#define AUDIT_ARCH_AARCH64 0xc00000b7U
#define AUDIT_ARCH_ARM 0x40000028U
#define AUDIT_ARCH_RISCV64 0xc00000f3U
#define AUDIT_ARCH_RISCV32 0x400000f3U
#define AUDIT_ARCH_LOONGARCH64 0xc0000102U

/* x86-64 has two tables of calls; numbers of the one with 32-bit pointers have this bit. */
#define __X32_SYSCALL_BIT 0x40000000

/* Whether the numbers below are those of this call. Other entries have other numbers, so ask first. */
static __always_inline int is_x86_64(const struct seccomp_data *data)
{
	return data->arch == AUDIT_ARCH_X86_64 && !(data->nr & __X32_SYSCALL_BIT);
}

/* Maps: a struct in the section ".maps" whose members say what it is.
 *
 *     struct {
 *         __uint(type, BPF_MAP_TYPE_HASH);
 *         __uint(max_entries, 64);
 *         __type(key, __u32);
 *         __type(value, __u64);
 *     } counts SEC(".maps");
 *
 * All memory is reserved when the map is made. Global variables are maps too: they begin with their value, all
 * threads share them, and those that are const cannot be written. There are no atomic operations: threads that
 * add to one variable at once may lose some of it. bpf_map_update_elem() with BPF_NOEXIST is atomic. */
#define __uint(name, number) int(*name)[number]
#define __type(name, what) __typeof__(what) *name

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_RINGBUF 27 /* max_entries is its size in bytes, a power of two from 4096 */
#define BPF_MAP_TYPE_TASK_STORAGE 29 /* its key is int */

/* map_flags */
#define BPF_F_RDONLY_PROG (1U << 7) /* filters only read it */

/* Task storage: whose it is, and what a new thread or process finds in it. */
#define SCOPE_THREAD 0 /* __uint(scope, ...) */
#define SCOPE_THREAD_GROUP 1
#define AT_FORK_RESET 0 /* __uint(at_fork, ...) */
#define AT_FORK_COPY 1

/* bpf_map_update_elem() */
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_EXIST 2

/* bpf_task_storage_get() */
#define BPF_LOCAL_STORAGE_GET_F_CREATE 1

/* bpf_ringbuf_output(), bpf_ringbuf_submit(), bpf_ringbuf_discard() */
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2

/* Helpers, by number. Those that give a long return a negative errno if they fail. */
#define __helper static __attribute__((unused))

/* The value of a key, or null. Its address stays good; another entry may take it after the key was deleted. */
__helper void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
__helper long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
__helper long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;

/* Nanoseconds since the machine started, without the time it slept. */
__helper __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;

/* Prints a line; bpf_printk() below is easier. The format has %d %i %u %x %X, with l or ll for 64 bits, and %c %%. */
__helper long (*const bpf_trace_printk)(const char *format, __u32 size, __u64 a, __u64 b, __u64 c) = (void *)6;

__helper __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;

/* tgid << 32 | pid, and gid << 32 | uid. */
__helper __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
__helper __u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
__helper long (*const bpf_get_current_comm)(void *to, __u32 size) = (void *)16;

/* Copies what an argument points to. It is a snapshot: another thread may write there between this copy and the
 * kernel's own, so a filter that allows what it saw has not decided about what the kernel will see, unless the
 * kernel says that it uses this copy. The string's length is with its 0; both clear the rest, all of it on failure. */
__helper long (*const bpf_probe_read_user)(void *to, __u32 size, const void *from) = (void *)112;
__helper long (*const bpf_probe_read_user_str)(void *to, __u32 size, const void *from) = (void *)114;

/* Events for user space. What is reserved has to be checked for null, then submitted or discarded. */
__helper long (*const bpf_ringbuf_output)(void *ring, const void *event, __u64 size, __u64 flags) = (void *)130;
__helper void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
__helper void (*const bpf_ringbuf_submit)(void *event, __u64 flags) = (void *)132;
__helper void (*const bpf_ringbuf_discard)(void *event, __u64 flags) = (void *)133;

/* The value of the thread that makes the call or of its group, or null. `task` and `value` have to be 0. */
__helper void *(*const bpf_task_storage_get)(void *map, void *task, void *value, __u64 flags) = (void *)156;
__helper long (*const bpf_task_storage_delete)(void *map, void *task) = (void *)157;

/* bpf_printk("call %d of %d", nr, pid): a constant format and up to three numbers. */
#define bpf_printk(...) __printk(__VA_ARGS__, 0, 0, 0, 0)
#define __printk(format, a, b, c, ...)                                                    \
	({                                                                                \
		static const char __format[] = format;                                    \
		bpf_trace_printk(__format, sizeof(__format), (__u64)(a), (__u64)(b), (__u64)(c)); \
	})

/* Calls of x86-64, those that filters ask about most. */
#define __NR_read 0
#define __NR_write 1
#define __NR_open 2
#define __NR_close 3
#define __NR_stat 4
#define __NR_mmap 9
#define __NR_mprotect 10
#define __NR_munmap 11
#define __NR_brk 12
#define __NR_rt_sigaction 13
#define __NR_rt_sigreturn 15
#define __NR_ioctl 16
#define __NR_getpid 39
#define __NR_socket 41
#define __NR_connect 42
#define __NR_accept 43
#define __NR_sendto 44
#define __NR_recvfrom 45
#define __NR_sendmsg 46
#define __NR_recvmsg 47
#define __NR_bind 49
#define __NR_listen 50
#define __NR_clone 56
#define __NR_fork 57
#define __NR_vfork 58
#define __NR_execve 59
#define __NR_exit 60
#define __NR_kill 62
#define __NR_fcntl 72
#define __NR_rename 82
#define __NR_mkdir 83
#define __NR_rmdir 84
#define __NR_creat 85
#define __NR_link 86
#define __NR_unlink 87
#define __NR_symlink 88
#define __NR_chmod 90
#define __NR_chown 92
#define __NR_ptrace 101
#define __NR_setuid 105
#define __NR_prctl 157
#define __NR_mount 165
#define __NR_umount2 166
#define __NR_exit_group 231
#define __NR_openat 257
#define __NR_mkdirat 258
#define __NR_unlinkat 263
#define __NR_renameat 264
#define __NR_unshare 272
#define __NR_accept4 288
#define __NR_prlimit64 302
#define __NR_setns 308
#define __NR_renameat2 316
#define __NR_seccomp 317
#define __NR_memfd_create 319
#define __NR_bpf 321
#define __NR_execveat 322
#define __NR_io_uring_setup 425
#define __NR_clone3 435
#define __NR_openat2 437

#define EPERM 1
#define ENOENT 2
#define ESRCH 3
#define EINTR 4
#define EIO 5
#define E2BIG 7
#define EBADF 9
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define ENOTDIR 20
#define EINVAL 22
#define ENOSPC 28
#define EROFS 30
#define ENOSYS 38
#define EAFNOSUPPORT 97
#define ENETUNREACH 101
#define ECONNREFUSED 111

#endif
