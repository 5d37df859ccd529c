//! What a filter's return value means, in words.

use std::fmt;

use cbpf_translator::seccomp::RET_DATA;
use seccomp_kernel::Action;
use seccomp_kernel::uapi::MAX_ERRNO;
use syscalls::Errno;

/// A return value: itself, its action and the data that the action uses.
#[derive(Clone, Copy, Debug)]
pub struct ReturnValue(pub u32);

/// The words of a return value, without the number.
#[derive(Clone, Copy, Debug)]
pub struct Words(pub u32);

impl fmt::Display for ReturnValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x} {}", self.0, Words(self.0))
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = Action::of(self.0);
        let data = (self.0 & RET_DATA) as u16;
        f.write_str(action.name())?;
        match action {
            Action::Errno if data > MAX_ERRNO => write!(f, "({data}, returns {MAX_ERRNO})"),
            Action::Errno => match Errno::new(data.into()).name() {
                Some(name) => write!(f, "({data} {name})"),
                None => write!(f, "({data})"),
            },
            Action::Trap | Action::Trace => write!(f, "({data})"),
            Action::Unknown(_) => f.write_str(" (kills the process)"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_words() {
        let rows = [
            (0x8000_0000, "0x80000000 KILL_PROCESS"),
            (0x0000_0000, "0x00000000 KILL_THREAD"),
            (0x0003_0007, "0x00030007 TRAP(7)"),
            (0x0005_0000, "0x00050000 ERRNO(0)"),
            (0x0005_0001, "0x00050001 ERRNO(1 EPERM)"),
            (0x0005_0fff, "0x00050fff ERRNO(4095)"),
            (0x0005_1000, "0x00051000 ERRNO(4096, returns 4095)"),
            (0x7fc0_0000, "0x7fc00000 USER_NOTIF"),
            (0x7ff0_0009, "0x7ff00009 TRACE(9)"),
            (0x7ffc_0000, "0x7ffc0000 LOG"),
            (0x7fff_0000, "0x7fff0000 ALLOW"),
            (0x0001_0000, "0x00010000 UNKNOWN (kills the process)"),
        ];
        for (value, words) in rows {
            assert_eq!(ReturnValue(value).to_string(), words);
        }
    }
}
