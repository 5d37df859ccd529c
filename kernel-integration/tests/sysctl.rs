//! The files of `/proc/sys/kernel/seccomp`, by rows. `audit_host` asks Linux about the same.

use seccomp_kernel::LogMask;
use seccomp_kernel::sysctl::{ACTIONS_AVAIL, ActionsLogged, WriteError};
use syscalls::Errno;

#[test]
fn what_can_be_logged_is_what_there_is_but_allow() {
    assert_eq!(format!("{} allow", LogMask::all()), ACTIONS_AVAIL);
    assert_eq!(LogMask::empty().to_string(), "");
}

#[test]
fn every_mask_is_read_back_as_it_is_written() {
    for bits in (0..=LogMask::all().bits()).step_by(if cfg!(miri) { 17 } else { 1 }) {
        let mask = LogMask::from_bits_truncate(bits);
        assert_eq!(LogMask::parse(mask.to_string().as_bytes()), Ok(mask));
    }
}

#[test]
fn a_write_changes_the_mask_or_nothing() {
    let trap_log = LogMask::TRAP.union(LogMask::LOG);
    type Row<'r> = (&'r str, bool, u64, &'r [u8], Result<LogMask, WriteError>);
    let rows: [Row; 11] = [
        ("two", true, 0, b"log trap\n", Ok(trap_log)),
        ("again", true, 0, b"trap trap log", Ok(trap_log)),
        ("two spaces end it", true, 0, b"log  nonsense", Ok(LogMask::LOG)),
        ("unknown", true, 0, b"trap logs", Err(WriteError::Unknown)),
        ("a tab is part of a name", true, 0, b"trap\tlog", Err(WriteError::Unknown)),
        ("capitals", true, 0, b"TRAP", Err(WriteError::Unknown)),
        ("allow", true, 0, b"trap allow", Err(WriteError::Allow)),
        ("nothing", true, 0, b"", Ok(LogMask::empty())),
        ("not from the start", true, 1, b"nonsense", Ok(LogMask::empty())),
        ("without privilege", false, 0, b"nonsense", Err(WriteError::Denied)),
        ("without privilege, not from the start", false, 1, b"", Err(WriteError::Denied)),
    ];
    for (name, sys_admin, offset, text, expected) in rows {
        let file = ActionsLogged::new();
        let change = file.write(sys_admin, offset, text);
        assert_eq!((change.old, change.outcome), (LogMask::all(), expected), "{name}");
        assert_eq!(file.mask(), expected.unwrap_or(LogMask::all()), "{name}");
    }
    let errnos = [WriteError::Denied, WriteError::Unknown, WriteError::Allow].map(Errno::from);
    assert_eq!(errnos, [Errno::EPERM, Errno::EINVAL, Errno::EINVAL]);
}

#[test]
fn every_attempt_has_its_record() {
    let file = ActionsLogged::default();
    let rows: [(bool, &[u8], &str); 5] = [
        (
            true,
            b"errno log",
            "op=seccomp-logging actions=errno,log \
             old-actions=kill_process,kill_thread,trap,errno,user_notif,trace,log res=1",
        ),
        (true, b"nonsense", "op=seccomp-logging actions=? old-actions=errno,log res=0"),
        (false, b"trap", "op=seccomp-logging actions=? old-actions=errno,log res=0"),
        (true, b"", "op=seccomp-logging actions=(none) old-actions=errno,log res=1"),
        (true, b"trap", "op=seccomp-logging actions=trap old-actions=(none) res=1"),
    ];
    for (sys_admin, text, record) in rows {
        assert_eq!(file.write(sys_admin, 0, text).to_string(), record);
    }
}
