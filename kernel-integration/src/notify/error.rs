//! Why a request is not made, and why an ioctl fails.

use core::error::Error;
use core::fmt;

use syscalls::Errno;

use super::Id;
use crate::kernel::Fault;

/// Why there is no request: the call returns this error instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The listener is closed.
    NotListening,
    /// There is no memory for the request. Linux has it on the target's stack.
    OutOfMemory,
}

/// What is wrong with an ioctl of a listener, in the order in which Linux looks at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoctlError {
    /// The number is not one of a listener's.
    Unknown(u32),
    /// User memory cannot be accessed.
    Fault,
    /// RECV: the buffer is not all zero.
    NotZero,
    /// RECV: there is no request, and none was to be waited for: its target has gone, or all have.
    NoRequest,
    /// ADDFD: the structure cannot have this size.
    Size(usize),
    /// ADDFD: the structure has something beyond what is known.
    Beyond,
    /// Flags that are not known are among these.
    Flags(u64),
    /// SEND: a call that is run has no value to be given.
    ContinueWithValue,
    /// ADDFD: a descriptor is named, but not to be set.
    UnaskedFd(u32),
    /// ADDFD: the supervisor has no such descriptor. The embedder finds out.
    BadFd(u32),
    /// No request has this id, or none any more.
    UnknownId(Id),
    /// The request was not received, or has an answer.
    NotSent(Id),
    /// ADDFD: a file that is the answer cannot queue behind others.
    Busy(Id),
    /// There is no memory to queue the file.
    OutOfMemory,
}

impl From<Fault> for IoctlError {
    fn from(_: Fault) -> Self {
        Self::Fault
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotListening => "the listener is closed",
            Self::OutOfMemory => "there is no memory for the request",
        })
    }
}

impl fmt::Display for IoctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(cmd) => write!(f, "{cmd:#x} is no ioctl of a listener"),
            Self::Fault => Fault.fmt(f),
            Self::NotZero => f.write_str("the buffer is not all zero"),
            Self::NoRequest => f.write_str("there is no request"),
            Self::Size(size) => write!(f, "the structure cannot have {size} bytes"),
            Self::Beyond => f.write_str("the structure has more than is known"),
            Self::Flags(flags) => write!(f, "unknown flags in {flags:#x}"),
            Self::ContinueWithValue => f.write_str("a call that is run cannot be given a value"),
            Self::UnaskedFd(fd) => write!(f, "descriptor {fd} is named, but not to be set"),
            Self::BadFd(fd) => write!(f, "{fd} is no descriptor"),
            Self::UnknownId(id) => write!(f, "no request has id {id}"),
            Self::NotSent(id) => write!(f, "request {id} awaits no answer"),
            Self::Busy(id) => write!(f, "request {id} has files queued"),
            Self::OutOfMemory => f.write_str("there is no memory to queue the file"),
        }
    }
}

impl Error for RequestError {}
impl Error for IoctlError {}

impl From<RequestError> for Errno {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotListening => Self::ENOSYS,
            RequestError::OutOfMemory => Self::ENOMEM,
        }
    }
}

impl From<IoctlError> for Errno {
    fn from(error: IoctlError) -> Self {
        match error {
            IoctlError::Unknown(_)
            | IoctlError::NotZero
            | IoctlError::Size(_)
            | IoctlError::Flags(_)
            | IoctlError::ContinueWithValue
            | IoctlError::UnaskedFd(_) => Self::EINVAL,
            IoctlError::Fault => Self::EFAULT,
            IoctlError::Beyond => Self::E2BIG,
            IoctlError::BadFd(_) => Self::EBADF,
            IoctlError::NoRequest | IoctlError::UnknownId(_) => Self::ENOENT,
            IoctlError::NotSent(_) => Self::EINPROGRESS,
            IoctlError::Busy(_) => Self::EBUSY,
            IoctlError::OutOfMemory => Self::ENOMEM,
        }
    }
}
