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
