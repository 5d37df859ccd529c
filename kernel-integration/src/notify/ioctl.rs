//! The ioctls of a listener: their numbers and structures, and what is refused before any request is looked
//! for.
//!
//! User memory is read through a function from address and buffer, such as
//! `|address, into| kernel.read_user(address, into)`, in the order in which Linux reads it.

use seccomp_runtime::SeccompData;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::{Id, IoctlError, Reply};
use crate::kernel::Fault;

/// Take a request.
pub const SECCOMP_IOCTL_NOTIF_RECV: u32 = 0xc050_2100;
/// Answer a request.
pub const SECCOMP_IOCTL_NOTIF_SEND: u32 = 0xc018_2101;
/// Ask whether an answer is still awaited.
pub const SECCOMP_IOCTL_NOTIF_ID_VALID: u32 = 0x4008_2102;
/// [`SECCOMP_IOCTL_NOTIF_ID_VALID`] with the direction that Linux 5.0 to 5.7 had wrong and still takes.
pub const SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR: u32 = 0x8008_2102;
/// Give the target a file. Its direction and size may be others.
pub const SECCOMP_IOCTL_NOTIF_ADDFD: u32 = 0x4018_2103;
/// Set flags of the listener.
pub const SECCOMP_IOCTL_NOTIF_SET_FLAGS: u32 = 0x4008_2104;

/// `seccomp_notif_resp`: run the call.
pub const SECCOMP_USER_NOTIF_FLAG_CONTINUE: u32 = 1 << 0;
/// `seccomp_notif_addfd`: the target's descriptor is to be `newfd`.
pub const SECCOMP_ADDFD_FLAG_SETFD: u32 = 1 << 0;
/// `seccomp_notif_addfd`: the descriptor is the answer too.
pub const SECCOMP_ADDFD_FLAG_SEND: u32 = 1 << 1;
/// `SET_FLAGS`: wake on the waker's processor, since it is about to sleep.
pub const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: u64 = 1 << 0;

/// `O_CLOEXEC` of every architecture here.
const O_CLOEXEC: u32 = 0o200_0000;

/// What an ioctl's number has beside direction and size (`EA_IOCTL`).
const NUMBER: u32 = 0xffff;

/// The size of an ADDFD structure has to be less than a page of this size. Linux takes the machine's.
const PAGE_SIZE: usize = 4096;

/// `struct seccomp_notif`: a request, as RECV writes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SeccompNotif {
    /// Its id.
    pub id: u64,
    /// The target's thread id as the receiver sees it, 0 if it does not.
    pub pid: u32,
    /// 0.
    pub flags: u32,
    /// The call.
    pub data: SeccompData,
}

/// `struct seccomp_notif_resp`: an answer, as SEND reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SeccompNotifResp {
    /// The request.
    pub id: u64,
    /// What the call returns, if `error` is 0.
    pub val: i64,
    /// What the call returns, if not 0; an errno is negative here.
    pub error: i32,
    /// [`SECCOMP_USER_NOTIF_FLAG_CONTINUE`].
    pub flags: u32,
}

/// `struct seccomp_notif_addfd`: a file for the target, as ADDFD reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SeccompNotifAddfd {
    /// The request.
    pub id: u64,
    /// `SECCOMP_ADDFD_FLAG_*`.
    pub flags: u32,
    /// The supervisor's descriptor.
    pub srcfd: u32,
    /// The target's, with [`SECCOMP_ADDFD_FLAG_SETFD`].
    pub newfd: u32,
    /// `O_CLOEXEC`.
    pub newfd_flags: u32,
}

const _: () = {
    assert!(size_of::<SeccompNotif>() == crate::uapi::NOTIF_SIZES[0] as usize);
    assert!(size_of::<SeccompNotifResp>() == crate::uapi::NOTIF_SIZES[1] as usize);
    assert!(size_of::<SeccompNotifAddfd>() == 24);
};

/// An ioctl of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ioctl {
    /// [`SECCOMP_IOCTL_NOTIF_RECV`].
    Receive,
    /// [`SECCOMP_IOCTL_NOTIF_SEND`].
    Send,
    /// [`SECCOMP_IOCTL_NOTIF_ID_VALID`], either number.
    IdValid,
    /// [`SECCOMP_IOCTL_NOTIF_SET_FLAGS`]. The argument is the flags, not an address.
    SetFlags,
    /// [`SECCOMP_IOCTL_NOTIF_ADDFD`] of any direction, with this size.
    AddFd(usize),
}

impl Ioctl {
    /// The ioctl of a number.
    ///
    /// # Errors
    ///
    /// It is not one of a listener's.
    pub const fn of(cmd: u32) -> Result<Self, IoctlError> {
        match cmd {
            SECCOMP_IOCTL_NOTIF_RECV => Ok(Self::Receive),
            SECCOMP_IOCTL_NOTIF_SEND => Ok(Self::Send),
            SECCOMP_IOCTL_NOTIF_ID_VALID | SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR => Ok(Self::IdValid),
            SECCOMP_IOCTL_NOTIF_SET_FLAGS => Ok(Self::SetFlags),
            _ if cmd & NUMBER == SECCOMP_IOCTL_NOTIF_ADDFD & NUMBER => {
                Ok(Self::AddFd((cmd >> 16 & 0x3fff) as usize))
            }
            _ => Err(IoctlError::Unknown(cmd)),
        }
    }
}

impl SeccompNotif {
    /// RECV looks at its buffer before it waits: all of it has to be zero, so that it can grow a meaning.
    ///
    /// # Errors
    ///
    /// [`IoctlError::NotZero`] or [`IoctlError::Fault`], whichever comes first in memory.
    pub fn check_buffer(
        address: u64,
        read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<(), IoctlError> {
        if is_zero(address, size_of::<Self>(), read)? { Ok(()) } else { Err(IoctlError::NotZero) }
    }
}

/// An answer that is well-formed: what SEND asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request.
    pub id: Id,
    /// The answer.
    pub reply: Reply,
}

impl Response {
    /// Reads and checks it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not well-formed.
    pub fn read(
        address: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<Self, IoctlError> {
        let mut response = SeccompNotifResp::new_zeroed();
        read(address, response.as_mut_bytes())?;
        response.try_into()
    }
}

impl TryFrom<SeccompNotifResp> for Response {
    type Error = IoctlError;

    fn try_from(response: SeccompNotifResp) -> Result<Self, IoctlError> {
        let SeccompNotifResp { id, val, error, flags } = response;
        let reply = match flags {
            0 if error == 0 => Reply::Return(val),
            0 => Reply::Return(error.into()),
            SECCOMP_USER_NOTIF_FLAG_CONTINUE if error == 0 && val == 0 => Reply::Continue,
            SECCOMP_USER_NOTIF_FLAG_CONTINUE => return Err(IoctlError::ContinueWithValue),
            _ => return Err(IoctlError::Flags(flags.into())),
        };
        Ok(Self { id: Id(id), reply })
    }
}

/// Reads the id that ID_VALID asks about.
///
/// # Errors
///
/// It cannot be read.
pub fn read_id(
    address: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
) -> Result<Id, IoctlError> {
    let mut id = [0; 8];
    read(address, &mut id)?;
    Ok(Id(u64::from_ne_bytes(id)))
}

/// A file for the target, well-formed: what ADDFD asks for. Whether `srcfd` is a descriptor comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddFd {
    /// The request.
    pub id: Id,
    /// The supervisor's descriptor.
    pub srcfd: u32,
    /// Where the target gets it.
    pub at: FdPlace,
    /// Whether the target's descriptor is the answer too.
    pub send: bool,
}

/// Where a target gets a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdPlace {
    /// At this descriptor, in place of what is there, or at the lowest free one.
    pub newfd: Option<u32>,
    /// To be closed when the target executes a program.
    pub close_on_exec: bool,
}

impl AddFd {
    /// Reads and checks it. `size` is that of [`Ioctl::AddFd`]: what a caller from the future has beyond our
    /// structure has to be zero (`copy_struct_from_user`).
    ///
    /// # Errors
    ///
    /// It has a size that it cannot have, cannot be read, or is not well-formed; in this order.
    pub fn read(
        address: u64,
        size: usize,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<Self, IoctlError> {
        let mut add_fd = SeccompNotifAddfd::new_zeroed();
        let known = size_of_val(&add_fd);
        let Some(beyond) = size.checked_sub(known).filter(|_| size < PAGE_SIZE) else {
            return Err(IoctlError::Size(size));
        };
        let end = address.checked_add(known as u64).ok_or(IoctlError::Fault)?;
        if !is_zero(end, beyond, &mut read)? {
            return Err(IoctlError::Beyond);
        }
        read(address, add_fd.as_mut_bytes())?;
        add_fd.try_into()
    }
}

impl TryFrom<SeccompNotifAddfd> for AddFd {
    type Error = IoctlError;

    fn try_from(add_fd: SeccompNotifAddfd) -> Result<Self, IoctlError> {
        let SeccompNotifAddfd { id, flags, srcfd, newfd, newfd_flags } = add_fd;
        let set = flags & SECCOMP_ADDFD_FLAG_SETFD != 0;
        if newfd_flags & !O_CLOEXEC != 0 {
            return Err(IoctlError::Flags(newfd_flags.into()));
        }
        if flags & !(SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND) != 0 {
            return Err(IoctlError::Flags(flags.into()));
        }
        if newfd != 0 && !set {
            return Err(IoctlError::UnaskedFd(newfd));
        }
        let at = FdPlace { newfd: set.then_some(newfd), close_on_exec: newfd_flags != 0 };
        Ok(Self { id: Id(id), srcfd, at, send: flags & SECCOMP_ADDFD_FLAG_SEND != 0 })
    }
}

/// Whether `len` bytes are all zero (`check_zeroed_user`). Stops at the first aligned word that is not, so
/// that a fault behind it does not show.
fn is_zero(
    mut address: u64,
    mut len: usize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    while len > 0 {
        let mut word = [0; 8];
        let now = len.min(8_usize.saturating_sub((address % 8) as usize));
        let part = word.get_mut(..now).unwrap_or_default();
        read(address, part)?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        address = address.checked_add(now as u64).ok_or(Fault)?;
        len = len.saturating_sub(now);
    }
    Ok(true)
}
