//! The calls that 32-bit x86 also has behind socketcall(2) and ipc(2).

use seccomp_kernel::Arch;

/// The numbers of socketcall and ipc on i386.
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// Their calls, from number 1 on.
const SOCKETCALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPCS: [(u32, &str); 12] = [
    (1, "semop"),
    (2, "semget"),
    (3, "semctl"),
    (4, "semtimedop"),
    (11, "msgsnd"),
    (12, "msgrcv"),
    (13, "msgget"),
    (14, "msgctl"),
    (21, "shmat"),
    (22, "shmdt"),
    (23, "shmget"),
    (24, "shmctl"),
];

/// The call that `name` is also made by on `arch`, and its number there, the first argument.
pub fn multiplexed(arch: Arch, name: &str) -> Option<(u32, u32)> {
    if arch != Arch::I386 {
        return None;
    }
    let socket = SOCKETCALLS.into_iter().zip(1..).find(|(other, _)| *other == name);
    let ipc = || IPCS.into_iter().find(|(_, other)| *other == name);
    socket.map(|(_, number)| (SOCKETCALL, number)).or_else(|| ipc().map(|(number, _)| (IPC, number)))
}

/// Whether a name is that of such a call, which some architectures have only so.
pub(super) fn is_call(name: &str) -> bool {
    multiplexed(Arch::I386, name).is_some()
}
