//! What debuggers may know of a thread's filters: two ptrace(2) requests, and the lines of `/proc/PID/status`.

use core::error::Error;
use core::fmt;

use cbpf_translator::SockFilter;
use syscalls::Errno;

use crate::filter::Filter;
use crate::kernel::{Fault, Kernel, Thread};
use crate::state::{Mode, ThreadState};
use crate::uapi::FilterFlags;

/// ptrace(2): the classic program of a filter.
pub const PTRACE_SECCOMP_GET_FILTER: u32 = 0x420c;
/// ptrace(2): how a filter was installed.
pub const PTRACE_SECCOMP_GET_METADATA: u32 = 0x420d;

/// A ptrace request about a filter of the tracee. Filters are counted from the oldest, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The number of instructions of a filter's classic program, as it was installed, and the program itself.
    GetFilter {
        /// Which filter.
        index: u64,
        /// The user address that the program goes to; 0 if only its length is asked for.
        program: u64,
    },
    /// The flags that a filter was installed with.
    GetMetadata {
        /// Bytes of the caller's `seccomp_metadata`.
        size: u64,
        /// Its user address. It says which filter.
        metadata: u64,
    },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntrospectError {
    /// The caller does not have CAP_SYS_ADMIN, or has seccomp itself.
    Denied,
    /// The caller's structure is too small to say which filter.
    Size,
    /// The caller's memory cannot be accessed.
    Fault,
    /// The thread is not in filter mode.
    Mode,
    /// It does not have that many filters.
    NoFilter,
    /// The filter is an extension, which has no classic program.
    NotClassic,
}

/// `struct seccomp_metadata`: two words, the filter's index and its flags.
const METADATA_SIZE: usize = 16;
const INDEX_SIZE: usize = 8;

impl Request {
    /// The request that ptrace(2)'s `request`, `addr` and `data` make, if it is one of these.
    pub const fn decode(request: u32, addr: u64, data: u64) -> Option<Self> {
        match request {
            PTRACE_SECCOMP_GET_FILTER => Some(Self::GetFilter { index: addr, program: data }),
            PTRACE_SECCOMP_GET_METADATA => Some(Self::GetMetadata { size: addr, metadata: data }),
            _ => None,
        }
    }

    /// Serves the request of the calling thread, which traces the stopped thread that has `target`. `sys_admin`
    /// is whether the caller has CAP_SYS_ADMIN in the initial user namespace. The value to return is the number
    /// of instructions, or the bytes of metadata that were written.
    ///
    /// # Errors
    ///
    /// The first reason in the order of [`IntrospectError`]'s variants, except that [`IntrospectError::Fault`]
    /// is also the last: when the answer cannot be written.
    pub fn serve<K: Kernel>(
        self,
        kernel: &K,
        sys_admin: bool,
        target: &ThreadState,
    ) -> Result<u64, IntrospectError> {
        if !sys_admin || kernel.current().seccomp().mode() != Mode::Disabled {
            return Err(IntrospectError::Denied);
        }
        match self {
            Self::GetFilter { index, program } => get_filter(kernel, filter_at(target, index)?, program),
            Self::GetMetadata { size, metadata } => get_metadata(kernel, target, size, metadata),
        }
    }
}

/// `get_nth_filter`.
fn filter_at(target: &ThreadState, index: u64) -> Result<&Filter, IntrospectError> {
    if target.mode() != Mode::Filter {
        return Err(IntrospectError::Mode);
    }
    let filter = u16::try_from(index).ok().and_then(|index| target.filter_at(index));
    filter.ok_or(IntrospectError::NoFilter)
}

/// `seccomp_get_filter`.
fn get_filter<K: Kernel>(kernel: &K, filter: &Filter, program: u64) -> Result<u64, IntrospectError> {
    const AT_ONCE: usize = 64;
    let insns = filter.program().classic().ok_or(IntrospectError::NotClassic)?.insns();
    if program != 0 {
        let mut address = program;
        for part in insns.chunks(AT_ONCE) {
            let mut bytes = [[0; SockFilter::SIZE]; AT_ONCE];
            for (bytes, insn) in bytes.iter_mut().zip(part) {
                *bytes = insn.to_ne_bytes();
            }
            let bytes = bytes.as_flattened().get(..size_of_val(part)).unwrap_or_default();
            kernel.write_user(address, bytes)?;
            address = address.checked_add(bytes.len() as u64).ok_or(IntrospectError::Fault)?;
        }
    }
    Ok(insns.len() as u64)
}

/// `seccomp_get_metadata`.
fn get_metadata<K: Kernel>(
    kernel: &K,
    target: &ThreadState,
    size: u64,
    metadata: u64,
) -> Result<u64, IntrospectError> {
    let size = usize::try_from(size).map_or(METADATA_SIZE, |size| size.min(METADATA_SIZE));
    if size < INDEX_SIZE {
        return Err(IntrospectError::Size);
    }
    let mut index = [0; INDEX_SIZE];
    kernel.read_user(metadata, &mut index)?;
    let filter = filter_at(target, u64::from_ne_bytes(index))?;
    let flags = if filter.logs() { FilterFlags::LOG } else { FilterFlags::empty() };
    let answer = [index, u64::from(flags.bits()).to_ne_bytes()];
    kernel.write_user(metadata, answer.as_flattened().get(..size).unwrap_or_default())?;
    Ok(size as u64)
}

/// What `/proc/PID/status` says of a thread. Its `Display` is the three lines, each with its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether no_new_privs is set.
    pub no_new_privs: bool,
    /// The mode.
    pub mode: Mode,
    /// How many filters it has.
    pub filters: u32,
}

impl Status {
    /// That of `thread`, which may be a zombie.
    pub fn of<T: Thread>(thread: &T) -> Self {
        let state = thread.seccomp();
        Self { no_new_privs: thread.no_new_privs(), mode: state.mode(), filters: state.filter_count() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "NoNewPrivs:\t{}", u8::from(self.no_new_privs))?;
        writeln!(f, "Seccomp:\t{}", self.mode as u8)?;
        writeln!(f, "Seccomp_filters:\t{}", self.filters)
    }
}

impl fmt::Display for IntrospectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("no CAP_SYS_ADMIN, or seccomp of its own"),
            Self::Size => f.write_str("the structure is too small"),
            Self::Fault => Fault.fmt(f),
            Self::Mode => f.write_str("the thread is not in filter mode"),
            Self::NoFilter => f.write_str("the thread does not have that many filters"),
            Self::NotClassic => f.write_str("the filter has no classic program"),
        }
    }
}

impl Error for IntrospectError {}

impl From<Fault> for IntrospectError {
    fn from(_: Fault) -> Self {
        Self::Fault
    }
}

impl From<IntrospectError> for Errno {
    fn from(error: IntrospectError) -> Self {
        match error {
            IntrospectError::Denied => Self::EACCES,
            IntrospectError::Size | IntrospectError::Mode => Self::EINVAL,
            IntrospectError::Fault => Self::EFAULT,
            IntrospectError::NoFilter => Self::ENOENT,
            IntrospectError::NotClassic => Self::EMEDIUMTYPE,
        }
    }
}
