//! Installing a filter (`seccomp_set_mode_filter`), in Linux's order of refusals.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use cbpf_translator::cbpf::MAX_INSNS;
use cbpf_translator::fallible::with_capacity;
use cbpf_translator::{CheckError, Checked, OutOfMemory, SockFilter, check};
use seccomp_runtime::{Extension, Loaded};

use crate::arch::Arch;
use crate::denials::Denials;
use crate::extension::{self, ExtensionError};
use crate::filter::{AttachError, Detached, Settings};
use crate::kernel::{Fault, GroupLock, Interrupted, Kernel, ListenerError, NewListener, Thread};
use crate::program::Program;
use crate::tsync;
use crate::uapi::{FilterFlags, SockFprog};

/// How an installation ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The filter is installed.
    Yes,
    /// It is, and this descriptor is its listener.
    Listener(i32),
    /// Nothing has changed: TSYNC was asked for, and this thread has filters that the caller has not.
    Diverged(i32),
}

/// Why a filter was not installed. Linux looks for them in this order, except that reading the program may
/// fault, and lack memory, only after its length, the caller's right and the pointer were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// Among these flags is one that is not known, or they do not go together.
    Flags(u32),
    /// The `sock_fprog` or the program cannot be read.
    Fault,
    /// A program of this length cannot be installed.
    Length(u16),
    /// Neither no_new_privs nor CAP_SYS_ADMIN.
    Denied,
    /// The pointer to the program is null.
    NullProgram,
    /// The program is not one that seccomp takes.
    Program(CheckError),
    /// The extension is refused.
    Extension(ExtensionError),
    /// There is no memory.
    OutOfMemory,
    /// There is no listener to be had.
    Listener(ListenerError),
    /// A fatal signal came while the caller waited for the other threads.
    Interrupted,
    /// The thread is in a mode in which it cannot have filters.
    Mode,
    /// The filter was to have a listener, and one of the thread's filters has one that is open.
    Busy,
    /// The thread's filters would count more than [`MAX_INSNS_PER_PATH`](crate::uapi::MAX_INSNS_PER_PATH)
    /// instructions.
    PathTooLong,
    /// As [`Installed::Diverged`], where the caller asked for an error instead.
    Diverged,
}

/// Installs the filter that `fprog` (a user address) describes for the calling thread, and with
/// [`FilterFlags::TSYNC`] for all threads of its process. `entry` is the entry the call came through; it
/// says how wide the pointers of `sock_fprog` are. With [`FilterFlags::EXTENSION`], `fprog` is that of a
/// [`SeccompExtension`](crate::uapi::SeccompExtension).
///
/// All or nothing: an error, or [`Installed::Diverged`], leaves every thread as it was. Allocates, reads user
/// memory and calls [`Kernel::exec_memory`] and [`Kernel::new_listener`] before it takes the group's lock.
///
/// # Errors
///
/// The first reason in Linux's order; see [`InstallError`].
pub fn install<K: Kernel>(
    kernel: &K,
    entry: Arch,
    flags: u32,
    fprog: u64,
) -> Result<Installed, InstallError> {
    let known = FilterFlags::from_bits(flags).filter(|flags| flags.agree());
    let flags = known.ok_or(InstallError::Flags(flags))?;
    if flags.contains(FilterFlags::EXTENSION) {
        // To whom may not have them, they do not exist.
        let rights = kernel.extension_rights().ok_or(InstallError::Flags(flags.bits()))?;
        check_right(kernel)?;
        return attach_extension(kernel, extension::read(kernel, &rights, fprog)?, flags);
    }
    let program = read_program(kernel, entry, fprog)?;
    attach(kernel, check(program)?, flags)
}

/// As [`install`], with a program that the kernel itself has, without asking for the caller's right. `flags`
/// that do not [agree](FilterFlags::agree) do what each of them says.
///
/// # Errors
///
/// Those of [`install`] from [`InstallError::OutOfMemory`] on.
pub fn attach<K: Kernel>(
    kernel: &K,
    program: Checked,
    flags: FilterFlags,
) -> Result<Installed, InstallError> {
    let memory = kernel.exec_memory();
    let loaded = Loaded::load(program, kernel.engine(), memory)?.planned(planned_arches(kernel), memory)?;
    attach_program(kernel, Program::Classic(loaded), flags)
}

/// As [`attach`], with an eBPF filter that the kernel itself has loaded. Its maps have their first contents.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_extension<K: Kernel>(
    kernel: &K,
    extension: Extension,
    flags: FilterFlags,
) -> Result<Installed, InstallError> {
    let extension = extension.planned(planned_arches(kernel))?;
    attach_program(kernel, Program::Extension(extension), flags)
}

fn planned_arches<K: Kernel>(kernel: &K) -> impl Iterator<Item = u32> {
    kernel.planned_entries().iter().map(|entry| entry.audit_arch())
}

fn attach_program<K: Kernel>(
    kernel: &K,
    program: Program,
    flags: FilterFlags,
) -> Result<Installed, InstallError> {
    let denials = kernel.counts_denials().then(|| Denials::new(kernel.planned_entries())).transpose()?;
    let wait_killable = flags.contains(FilterFlags::WAIT_KILLABLE_RECV);
    let new_listener = flags.contains(FilterFlags::NEW_LISTENER).then(|| kernel.new_listener(wait_killable));
    let new_listener = new_listener.transpose().map_err(InstallError::Listener)?;
    let settings = Settings {
        log: flags.contains(FilterFlags::LOG),
        exempts_uprobes: kernel.exempts_uprobes(),
        denials,
        listener: new_listener.as_ref().map(NewListener::listener),
    };
    let mut node = Detached::new(program, settings)?;

    let tsync = flags.contains(FilterFlags::TSYNC);
    let allow_speculation = flags.contains(FilterFlags::SPEC_ALLOW);
    let lock = if tsync { GroupLock::ThreadSync } else { GroupLock::Install };
    let caller = kernel.current();
    let state = caller.seccomp();
    let installed = kernel.with_group(lock, |group| {
        state.may_filter().map_err(|_| InstallError::Mode)?;
        let filter = node.attach(state.share_filter())?;
        if tsync && let Some(tid) = tsync::diverged(group, state) {
            return if flags.contains(FilterFlags::TSYNC_ESRCH) {
                Err(InstallError::Diverged)
            } else {
                Ok(Installed::Diverged(tid))
            };
        }
        state.grow(filter.clone()).map_err(|_| InstallError::Mode)?;
        if tsync {
            tsync::synchronise(group, caller, &filter, allow_speculation);
        }
        caller.entered_filter(allow_speculation);
        Ok(Installed::Yes)
    })??;
    Ok(match (installed, new_listener) {
        (Installed::Yes, Some(listener)) => Installed::Listener(listener.publish()),
        (installed, _) => installed,
    })
}

/// Whether the caller may install any filter.
fn check_right<K: Kernel>(kernel: &K) -> Result<(), InstallError> {
    if kernel.current().no_new_privs() || kernel.may_install() { Ok(()) } else { Err(InstallError::Denied) }
}

/// Copies the program in: the checks of its length and of the caller's right come before its memory is
/// touched (`seccomp_prepare_user_filter`, `seccomp_prepare_filter`).
fn read_program<K: Kernel>(kernel: &K, entry: Arch, fprog: u64) -> Result<Vec<SockFilter>, InstallError> {
    let fprog = read_fprog(kernel, entry, fprog)?;
    let len = usize::from(fprog.len);
    if len == 0 || len > MAX_INSNS {
        return Err(InstallError::Length(fprog.len));
    }
    check_right(kernel)?;
    if fprog.filter == 0 {
        return Err(InstallError::NullProgram);
    }
    let mut insns = with_capacity(len)?;
    read_each(kernel, fprog.filter, len, |insn| insns.push(SockFilter::from_ne_bytes(insn)))?;
    Ok(insns)
}

/// Calls `part` with each of `count` things of `SIZE` bytes that are one behind the other in user memory.
pub(crate) fn read_each<K: Kernel, const SIZE: usize>(
    kernel: &K,
    mut address: u64,
    count: usize,
    mut part: impl FnMut([u8; SIZE]),
) -> Result<(), Fault> {
    // Piece by piece, so that the copy needs no second buffer.
    let mut buffer = [0; 512];
    let mut left = count;
    while left > 0 {
        let now = left.min(buffer.len().checked_div(SIZE).unwrap_or(0)).max(1);
        let piece = buffer.get_mut(..now.saturating_mul(SIZE)).ok_or(Fault)?;
        kernel.read_user(address, piece)?;
        piece.as_chunks().0.iter().copied().for_each(&mut part);
        // What runs past the end of the address space cannot be read.
        address = address.checked_add(piece.len() as u64).ok_or(Fault)?;
        left = left.saturating_sub(now);
    }
    Ok(())
}

fn read_fprog<K: Kernel>(kernel: &K, entry: Arch, address: u64) -> Result<SockFprog, Fault> {
    if entry.is_compat() {
        let mut bytes = [0; SockFprog::COMPAT_SIZE];
        kernel.read_user(address, &mut bytes)?;
        Ok(SockFprog::compat(bytes))
    } else {
        let mut bytes = [0; SockFprog::NATIVE_SIZE];
        kernel.read_user(address, &mut bytes)?;
        Ok(SockFprog::native(bytes))
    }
}

impl From<Fault> for InstallError {
    fn from(_: Fault) -> Self {
        Self::Fault
    }
}

impl From<Interrupted> for InstallError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl From<OutOfMemory> for InstallError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<AttachError> for InstallError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Busy => Self::Busy,
            AttachError::PathTooLong => Self::PathTooLong,
        }
    }
}

impl From<CheckError> for InstallError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::OutOfMemory => Self::OutOfMemory,
            error => Self::Program(error),
        }
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(flags) => write!(f, "flags {flags:#x} are unknown or do not go together"),
            Self::Fault => Fault.fmt(f),
            Self::Length(len) => CheckError::Length(usize::from(*len)).fmt(f),
            Self::Denied => f.write_str("neither no_new_privs nor CAP_SYS_ADMIN"),
            Self::NullProgram => f.write_str("the pointer to the program is null"),
            Self::Program(error) => error.fmt(f),
            Self::Extension(error) => error.fmt(f),
            Self::OutOfMemory => OutOfMemory.fmt(f),
            Self::Listener(error) => error.fmt(f),
            Self::Interrupted => Interrupted.fmt(f),
            Self::Mode => f.write_str("the thread's mode does not allow a filter"),
            Self::Busy => ListenerError::Busy.fmt(f),
            Self::PathTooLong => f.write_str("the thread's filters would be too long together"),
            Self::Diverged => f.write_str("a thread has filters that the caller has not"),
        }
    }
}

impl Error for InstallError {}
