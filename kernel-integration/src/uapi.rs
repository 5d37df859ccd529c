//! The numbers and structures of Linux's seccomp interface (`include/uapi/linux/seccomp.h`, `filter.h`,
//! `prctl.h`). Return values of filters are in [`cbpf_translator::seccomp`].

use bitflags::bitflags;

/// seccomp(2): enter strict mode.
pub const SECCOMP_SET_MODE_STRICT: u32 = 0;
/// seccomp(2): install a filter.
pub const SECCOMP_SET_MODE_FILTER: u32 = 1;
/// seccomp(2): ask whether an action is known.
pub const SECCOMP_GET_ACTION_AVAIL: u32 = 2;
/// seccomp(2): ask for the sizes of the notification structures.
pub const SECCOMP_GET_NOTIF_SIZES: u32 = 3;

/// prctl(2): what is the mode?
pub const PR_GET_SECCOMP: u32 = 21;
/// prctl(2): set the mode.
pub const PR_SET_SECCOMP: u32 = 22;

/// The mode `PR_SET_SECCOMP` takes for strict mode.
pub const SECCOMP_MODE_STRICT: u64 = 1;
/// The mode `PR_SET_SECCOMP` takes for a filter.
pub const SECCOMP_MODE_FILTER: u64 = 2;

/// `si_code` of the SIGSYS that seccomp sends.
pub const SYS_SECCOMP: i32 = 1;

/// The largest errno that a filter can make a call return; larger data counts as this.
pub const MAX_ERRNO: u16 = 4095;

/// The errno of a call that was left to a tracer or a supervisor where there is none.
pub(crate) const ENOSYS: i64 = 38;

/// The most eBPF instructions on the path from a filter to its oldest ancestor, where each ancestor counts
/// [`PATH_PENALTY`] more than it has.
pub const MAX_INSNS_PER_PATH: usize = 32768;

/// What an ancestor counts beyond its instructions.
pub const PATH_PENALTY: usize = 4;

/// Sizes of `seccomp_notif`, `seccomp_notif_resp` and `seccomp_data`, as `GET_NOTIF_SIZES` writes them.
pub const NOTIF_SIZES: [u16; 3] = [80, 24, 64];

bitflags! {
    /// `SECCOMP_FILTER_FLAG_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct FilterFlags: u32 {
        /// Give the filter to every thread of the process.
        const TSYNC = 1 << 0;
        /// Log this filter's actions, apart from ALLOW.
        const LOG = 1 << 1;
        /// Leave speculation mitigations off.
        const SPEC_ALLOW = 1 << 2;
        /// Give the filter a listener, and return its descriptor.
        const NEW_LISTENER = 1 << 3;
        /// Fail with ESRCH where TSYNC would return a thread id.
        const TSYNC_ESRCH = 1 << 4;
        /// Once a supervisor has received a call, its thread waits killably.
        const WAIT_KILLABLE_RECV = 1 << 5;
        /// The filter is an extension, and the argument a [`SeccompExtension`]. Not Linux's; it exists for callers
        /// with [`Kernel::extension_rights`](crate::Kernel::extension_rights) only.
        const EXTENSION = 1 << 31;
    }
}

impl FilterFlags {
    /// Whether they may stand together: a call cannot return both a thread id and a descriptor, and without a
    /// listener nobody receives.
    pub const fn agree(self) -> bool {
        let ambiguous = Self::TSYNC.union(Self::NEW_LISTENER);
        (!self.contains(ambiguous) || self.contains(Self::TSYNC_ESRCH))
            && (!self.contains(Self::WAIT_KILLABLE_RECV) || self.contains(Self::NEW_LISTENER))
    }
}

/// `struct sock_fprog`: where a program is and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SockFprog {
    /// The number of instructions.
    pub len: u16,
    /// The user address of the first.
    pub filter: u64,
}

impl SockFprog {
    /// Bytes of the structure with 64-bit pointers: length, six bytes of padding, pointer.
    pub const NATIVE_SIZE: usize = 16;
    /// Bytes of the structure with 32-bit pointers: length, two bytes of padding, pointer.
    pub const COMPAT_SIZE: usize = 8;

    /// Reads the structure of a 64-bit caller.
    pub const fn native(bytes: [u8; Self::NATIVE_SIZE]) -> Self {
        let [l0, l1, _, _, _, _, _, _, p0, p1, p2, p3, p4, p5, p6, p7] = bytes;
        Self {
            len: u16::from_ne_bytes([l0, l1]),
            filter: u64::from_ne_bytes([p0, p1, p2, p3, p4, p5, p6, p7]),
        }
    }

    /// Reads the structure of a 32-bit caller.
    pub const fn compat(bytes: [u8; Self::COMPAT_SIZE]) -> Self {
        let [l0, l1, _, _, p0, p1, p2, p3] = bytes;
        Self { len: u16::from_ne_bytes([l0, l1]), filter: u32::from_ne_bytes([p0, p1, p2, p3]) as u64 }
    }
}

bitflags! {
    /// What an extension asks of the kernel.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ExtensionFlags: u32 {
        /// It may only be installed where the call uses the copies of user memory that its helpers have made.
        const RELIES_ON_COPIES = 1 << 0;
    }
}

bitflags! {
    /// How a map of an extension is made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ExtensionMapFlags: u32 {
        /// The program cannot write it (`BPF_F_RDONLY_PROG`).
        const READ_ONLY = 1 << 7;
        /// Once it has its first values, the kernel cannot write it.
        const FROZEN = 1 << 29;
        /// Task storage is that of thread groups, not of threads.
        const THREAD_GROUP = 1 << 30;
        /// A new task has a copy of its parent's storage.
        const COPY = 1 << 31;
    }
}

/// `struct seccomp_extension`: an eBPF filter. The same for 32-bit callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompExtension {
    /// The number of instructions.
    pub insn_count: u32,
    /// The number of maps.
    pub map_count: u32,
    /// The user address of the first `bpf_insn`. 64-bit loads name maps by their index.
    pub insns: u64,
    /// The user address of the first [`SeccompExtensionMap`].
    pub maps: u64,
    /// [`ExtensionFlags`].
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

impl SeccompExtension {
    /// Bytes of the structure.
    pub const SIZE: usize = 32;

    /// Reads the structure.
    pub const fn from_ne_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [i, m, i0, i1, m0, m1, flags, reserved] = words(bytes);
        Self { insn_count: i, map_count: m, insns: double(i0, i1), maps: double(m0, m1), flags, reserved }
    }
}

/// `struct seccomp_extension_map`: a map of an eBPF filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompExtensionMap {
    /// `BPF_MAP_TYPE_*`.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// The most entries; of a ring, its bytes.
    pub max_entries: u32,
    /// [`ExtensionMapFlags`].
    pub flags: u32,
    /// 0.
    pub reserved: u32,
    /// The user address of an array's first values, one behind the other; 0 if they are zeroes.
    pub values: u64,
}

impl SeccompExtensionMap {
    /// Bytes of the structure.
    pub const SIZE: usize = 32;

    /// Reads the structure.
    pub const fn from_ne_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [kind, key_size, value_size, max_entries, flags, reserved, v0, v1] = words(bytes);
        Self { kind, key_size, value_size, max_entries, flags, reserved, values: double(v0, v1) }
    }
}

const fn words(bytes: [u8; 32]) -> [u32; 8] {
    zerocopy::transmute!(bytes)
}

/// 64 bits of two words, as they stand in memory.
const fn double(first: u32, second: u32) -> u64 {
    zerocopy::transmute!([first, second])
}
