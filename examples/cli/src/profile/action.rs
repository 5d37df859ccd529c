//! Actions by their names in profiles, and the return values they stand for.

use anyhow::{Context, ensure};
use cbpf_translator::seccomp::{
    RET_ALLOW, RET_DATA, RET_ERRNO, RET_KILL_PROCESS, RET_KILL_THREAD, RET_LOG, RET_TRACE, RET_TRAP,
    RET_USER_NOTIF,
};
use seccomp_kernel::uapi::MAX_ERRNO;
use serde::Deserialize;
use syscalls::Errno;

use crate::names::{Meant, no_such};

/// The highest errno of a rule, where Linux has room for more: libseccomp refuses [`MAX_ERRNO`] itself.
const MAX_RULE_ERRNO: u32 = MAX_ERRNO as u32 - 1;

/// An action.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) enum Action {
    KillThread,
    KillProcess,
    Trap,
    Errno,
    Trace,
    Allow,
    Log,
    Notify,
}

const NAMES: [(&str, Action); 9] = [
    ("SCMP_ACT_KILL", Action::KillThread),
    ("SCMP_ACT_KILL_THREAD", Action::KillThread),
    ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
    ("SCMP_ACT_TRAP", Action::Trap),
    ("SCMP_ACT_ERRNO", Action::Errno),
    ("SCMP_ACT_TRACE", Action::Trace),
    ("SCMP_ACT_ALLOW", Action::Allow),
    ("SCMP_ACT_LOG", Action::Log),
    ("SCMP_ACT_NOTIFY", Action::Notify),
];

impl TryFrom<String> for Action {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, action)| *action);
        found.ok_or_else(|| no_such("action", &text, NAMES.map(|(name, _)| name)))
    }
}

impl Action {
    /// The return value. `number` and `name` are the two ways to write its errno; EPERM is meant without.
    ///
    /// # Errors
    ///
    /// The action has none, or there is no such errno, or the two are different.
    pub(super) fn value(self, number: Option<u64>, name: Option<&str>) -> anyhow::Result<u32> {
        let name = name.filter(|name| !name.is_empty());
        let named = name.map(errno).transpose()?;
        if let (Some(number), Some(named), Some(name)) = (number, named, name) {
            ensure!(number == u64::from(named), "the errno is {number} and {name}, which is {named}");
        }
        let errno = number.or(named.map(u64::from));
        let data = |most: u32| -> anyhow::Result<u32> {
            let errno = errno.unwrap_or(libc::EPERM.cast_unsigned().into());
            u32::try_from(errno)
                .ok()
                .filter(|errno| *errno <= most)
                .with_context(|| format!("errno {errno} is above {most}, the highest that libseccomp takes"))
        };
        let action = match self {
            Self::Errno => return Ok(RET_ERRNO | data(MAX_RULE_ERRNO)?),
            Self::Trace => return Ok(RET_TRACE | data(RET_DATA)?),
            Self::KillThread => RET_KILL_THREAD,
            Self::KillProcess => RET_KILL_PROCESS,
            Self::Trap => RET_TRAP,
            Self::Allow => RET_ALLOW,
            Self::Log => RET_LOG,
            Self::Notify => RET_USER_NOTIF,
        };
        ensure!(errno.is_none(), "an errno, but the action is neither SCMP_ACT_ERRNO nor SCMP_ACT_TRACE");
        Ok(action)
    }
}

/// The errno with this name.
///
/// # Errors
///
/// There is none.
pub fn errno(name: &str) -> anyhow::Result<u16> {
    let named = |errno: u16| Errno::new(i32::from(errno)).name();
    (1..=MAX_ERRNO).find(|errno| named(*errno) == Some(name)).with_context(|| {
        format!("{name:?} is no errno{}", Meant::of(name, (1..=MAX_ERRNO).filter_map(named)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_a_number_or_a_name() {
        let value = |number, name| Action::Errno.value(number, name).map_err(|error| error.to_string());
        assert_eq!(value(None, None), Ok(0x0005_0001));
        assert_eq!(value(Some(38), None), Ok(0x0005_0026));
        assert_eq!(value(None, Some("ENOSYS")), Ok(0x0005_0026));
        assert_eq!(value(Some(38), Some("ENOSYS")), Ok(0x0005_0026));
        assert_eq!(value(Some(1), Some("ENOSYS")), Err("the errno is 1 and ENOSYS, which is 38".into()));
        assert_eq!(value(None, Some("ENOPE")), Err("\"ENOPE\" is no errno".into()));
        let above = "errno 4095 is above 4094, the highest that libseccomp takes".into();
        assert_eq!((value(Some(4094), None), value(Some(4095), None)), (Ok(0x0005_0ffe), Err(above)));
        assert!(Action::Trace.value(Some(1 << 16), None).is_err());
        assert_eq!(Action::Trace.value(Some(0xffff), None).ok(), Some(0x7ff0_ffff));
        assert_eq!(Action::Trace.value(Some(7), None).ok(), Some(0x7ff0_0007));
        assert_eq!(Action::Allow.value(None, Some("")).ok(), Some(0x7fff_0000));
        assert!(Action::Allow.value(Some(0), None).is_err());
    }
}
