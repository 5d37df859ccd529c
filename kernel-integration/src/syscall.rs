//! seccomp(2) and the seccomp part of prctl(2) over a [`Kernel`]: the only place that knows errnos.

use syscalls::Errno;

use crate::action::Action;
use crate::arch::Arch;
use crate::extension::ExtensionError;
use crate::install::{InstallError, Installed, install};
use crate::kernel::{Fault, GroupLock, Kernel, ListenerError, Thread};
use crate::state::ModeConflict;
use crate::uapi::{
    NOTIF_SIZES, SECCOMP_GET_ACTION_AVAIL, SECCOMP_GET_NOTIF_SIZES, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT,
    SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT,
};

/// seccomp(2): `op`, `flags` and the user address `uargs`, as the entry `entry` got them. The value to
/// return is 0, or the descriptor of a new listener, or with TSYNC the id of the thread that could not follow.
///
/// # Errors
///
/// Linux's errno, in Linux's order.
pub fn seccomp<K: Kernel>(kernel: &K, entry: Arch, op: u32, flags: u32, uargs: u64) -> Result<i32, Errno> {
    match op {
        SECCOMP_SET_MODE_STRICT if flags != 0 || uargs != 0 => Err(Errno::EINVAL),
        SECCOMP_SET_MODE_STRICT => set_strict(kernel),
        SECCOMP_SET_MODE_FILTER => set_filter(kernel, entry, flags, uargs),
        SECCOMP_GET_ACTION_AVAIL | SECCOMP_GET_NOTIF_SIZES if flags != 0 => Err(Errno::EINVAL),
        SECCOMP_GET_ACTION_AVAIL => {
            let mut action = [0; 4];
            kernel.read_user(uargs, &mut action)?;
            match Action::available(u32::from_ne_bytes(action)) {
                Some(_) => Ok(0),
                None => Err(Errno::EOPNOTSUPP),
            }
        }
        SECCOMP_GET_NOTIF_SIZES => {
            let [[a, b], [c, d], [e, f]] = NOTIF_SIZES.map(u16::to_ne_bytes);
            kernel.write_user(uargs, &[a, b, c, d, e, f])?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(PR_SET_SECCOMP, mode, fprog)`. The other arguments of prctl are ignored, and `fprog` is for
/// strict mode.
///
/// # Errors
///
/// Linux's errno, in Linux's order.
pub fn prctl_set_seccomp<K: Kernel>(kernel: &K, entry: Arch, mode: u64, fprog: u64) -> Result<i32, Errno> {
    match mode {
        SECCOMP_MODE_STRICT => set_strict(kernel),
        SECCOMP_MODE_FILTER => set_filter(kernel, entry, 0, fprog),
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(PR_GET_SECCOMP)`: the mode, 0 or 2. In strict mode the call itself does not get here.
pub fn prctl_get_seccomp<K: Kernel>(kernel: &K) -> i32 {
    i32::from(kernel.current().seccomp().mode() as u8)
}

fn set_strict<K: Kernel>(kernel: &K) -> Result<i32, Errno> {
    let state = kernel.current().seccomp();
    // Under the lock, or a TSYNC that has found this thread without seccomp would overwrite it.
    kernel.with_group(GroupLock::Install, |_| state.enter_strict()).map_err(InstallError::from)??;
    kernel.entered_strict();
    Ok(0)
}

fn set_filter<K: Kernel>(kernel: &K, entry: Arch, flags: u32, fprog: u64) -> Result<i32, Errno> {
    match install(kernel, entry, flags, fprog)? {
        Installed::Yes => Ok(0),
        Installed::Listener(fd) => Ok(fd),
        Installed::Diverged(tid) => Ok(tid),
    }
}

impl From<InstallError> for Errno {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Flags(_)
            | InstallError::Length(_)
            | InstallError::NullProgram
            | InstallError::Program(_)
            | InstallError::Interrupted
            | InstallError::Mode => Self::EINVAL,
            InstallError::Extension(ExtensionError::Copies) => Self::EOPNOTSUPP,
            InstallError::Extension(_) => Self::EINVAL,
            InstallError::Fault => Self::EFAULT,
            InstallError::Denied => Self::EACCES,
            InstallError::OutOfMemory | InstallError::PathTooLong => Self::ENOMEM,
            InstallError::Listener(error) => error.into(),
            InstallError::Busy => Self::EBUSY,
            InstallError::Diverged => Self::ESRCH,
        }
    }
}

impl From<ListenerError> for Errno {
    fn from(error: ListenerError) -> Self {
        match error {
            ListenerError::Unsupported => Self::EINVAL,
            ListenerError::Descriptors => Self::EMFILE,
            ListenerError::Files => Self::ENFILE,
            ListenerError::OutOfMemory => Self::ENOMEM,
            ListenerError::Busy => Self::EBUSY,
        }
    }
}

impl From<Fault> for Errno {
    fn from(_: Fault) -> Self {
        Self::EFAULT
    }
}

impl From<ModeConflict> for Errno {
    fn from(_: ModeConflict) -> Self {
        Self::EINVAL
    }
}
