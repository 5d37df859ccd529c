//! What is logged, the record's text, the limit on how often, and the counters.

use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::{
    AUDIT_UNSET, Action, Arch, Decision, Denials, Denied, LogEntry, LogMask, RateLimit, Record, Sigsys,
    Untrusted, Verdict,
};

#[test]
fn only_the_administrator_keeps_kills_and_log_out_and_other_actions_must_be_asked_for() {
    let rows = [
        (Action::KillProcess, LogMask::KILL_PROCESS, false),
        (Action::Unknown(0x1234), LogMask::KILL_PROCESS, false),
        (Action::KillThread, LogMask::KILL_THREAD, false),
        (Action::Log, LogMask::LOG, false),
        (Action::Trap, LogMask::TRAP, true),
        (Action::Errno, LogMask::ERRNO, true),
        (Action::UserNotif, LogMask::USER_NOTIF, true),
        (Action::Trace, LogMask::TRACE, true),
    ];
    for (action, bit, must_ask) in rows {
        for requested in [false, true] {
            assert_eq!(LogMask::all().logs(action, requested), requested || !must_ask, "{action:?}");
            assert_eq!(bit.logs(action, requested), requested || !must_ask, "{action:?}");
            assert!(!bit.complement().logs(action, requested), "{action:?}");
        }
    }
    assert!(!LogMask::all().logs(Action::Allow, true));
}

#[test]
fn strings_that_may_look_like_fields_are_hex() {
    let rows: [(&[u8], &str); 12] = [
        (b"sh", "\"sh\""),
        (b"", "\"\""),
        (b"!~\\'=", "\"!~\\'=\""),
        (b"sh\0left over", "\"sh\""),
        (b"\0", "\"\""),
        (b"a b", "612062"),
        (b"a\"b", "612262"),
        (b"\x7f", "7F"),
        (b"\x1f", "1F"),
        (b"\t", "09"),
        ("é".as_bytes(), "C3A9"),
        (b"/memfd:x (deleted)", "2F6D656D66643A78202864656C6574656429"),
    ];
    for (bytes, text) in rows {
        assert_eq!(Untrusted(bytes).to_string(), text);
    }
}

#[test]
fn a_record_is_what_linux_writes() {
    let entry = LogEntry {
        signal: 31,
        code: 0x8000_0000,
        nr: -1,
        arch: 0x4000_0003,
        instruction_pointer: 0x1234_8765_4058,
    };
    let record = Record {
        auid: AUDIT_UNSET,
        uid: 1000,
        gid: 100,
        ses: 3,
        subj: Some("unconfined"),
        pid: 8968,
        comm: b"sh",
        exe: None,
        compat: true,
        entry,
    };
    assert_eq!(
        record.to_string(),
        "auid=4294967295 uid=1000 gid=100 ses=3 subj=unconfined pid=8968 comm=\"sh\" exe=(null) sig=31 \
         arch=40000003 syscall=-1 compat=1 ip=0x123487654058 code=0x80000000"
    );
    // One that a Linux 6.18 wrote.
    let entry = LogEntry {
        signal: 31,
        code: 0,
        nr: 1073741824,
        arch: 0xc000_003e,
        instruction_pointer: 0x1234_8765_401c,
    };
    let record = Record {
        uid: 0,
        gid: 0,
        ses: AUDIT_UNSET,
        subj: None,
        comm: b"returns_the_sam",
        exe: Some(b"/target/debug/deps/live_linux"),
        compat: false,
        entry,
        ..record
    };
    assert_eq!(
        record.to_string(),
        "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=8968 comm=\"returns_the_sam\" \
         exe=\"/target/debug/deps/live_linux\" sig=31 arch=c000003e syscall=1073741824 compat=0 \
         ip=0x12348765401c code=0x0"
    );
}

#[test]
#[cfg_attr(miri, ignore = "one thread, and fifty thousand calls")]
fn a_loop_gets_its_burst_and_then_one_event_at_a_time() {
    let limit = RateLimit::new(5000, 10);
    let told = |now: std::ops::Range<u64>| now.filter(|now| limit.admit(*now).is_some()).count();
    assert_eq!((0..1000).filter(|_| limit.admit(0).is_some()).count(), 10);
    assert_eq!(limit.dropped(), 990);
    assert_eq!(limit.admit(499), None);
    assert_eq!(limit.admit(500), Some(991));
    assert_eq!(limit.dropped(), 0);
    // Ten in each 5000 ticks, as long as it lasts.
    assert_eq!(told(501..50_501), 100);
    // After a pause it is as new, and not better than new.
    assert_eq!((0..1000).filter(|_| limit.admit(1 << 40).is_some()).count(), 10);
}

#[test]
fn a_limit_survives_odd_numbers() {
    let rows = [
        ("no interval", RateLimit::new(0, 0), 100),
        ("no interval, some burst", RateLimit::new(0, 3), 100),
        ("no burst", RateLimit::new(1000, 0), 0),
        ("a coarse clock", RateLimit::new(2, 10), 2),
        ("one", RateLimit::new(u64::MAX / 2, 1), 1),
        ("everything", RateLimit::new(u64::MAX, u32::MAX), 100),
    ];
    for (name, limit, expected) in rows {
        assert_eq!((0..100).filter(|_| limit.admit(7).is_some()).count(), expected, "{name}");
        // The end of time is no panic.
        limit.admit(u64::MAX);
    }
    // A clock that steps back does not open the limit, nor close it for good.
    let limit = RateLimit::new(10, 1);
    assert_eq!(limit.admit(100), Some(0));
    assert_eq!(limit.admit(95), None);
    assert_eq!(limit.admit(110), Some(1));
}

#[test]
fn threads_share_one_burst() {
    const CALLS: u64 = if cfg!(miri) { 50 } else { 1000 };
    let limit = RateLimit::new(1000, 50);
    // What is told tells how many were dropped before it.
    let told: Vec<u64> = std::thread::scope(|scope| {
        let calls = || (0..CALLS).filter_map(|_| limit.admit(3)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(calls)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it counts")).collect()
    });
    assert_eq!(told.len(), 50);
    assert_eq!(told.iter().sum::<u64>() + limit.dropped(), 4 * CALLS - 50);
}

const SIGSYS: Sigsys = Sigsys { errno: 0, call_addr: 0, syscall: 0, arch: 0 };

fn decision(verdict: Verdict) -> Decision {
    Decision { verdict, value: 0, filter: None, log: None }
}

fn call(entry: Arch, nr: i32) -> SeccompData {
    SeccompData { nr, arch: entry.audit_arch(), ..SeccompData::default() }
}

#[test]
fn calls_that_do_not_run_are_counted() {
    let denied = [
        Verdict::Return(-1),
        Verdict::Return(0),
        Verdict::Trap(SIGSYS),
        Verdict::KillStrict,
        Verdict::KillThread(SIGSYS),
        Verdict::KillProcess(SIGSYS),
    ];
    let denials = Denials::new(&[Arch::X86_64, Arch::I386]).expect("there is memory");
    for verdict in denied.into_iter().chain([Verdict::Proceed, Verdict::Trace { message: 1 }]) {
        denials.count(&decision(verdict), &call(Arch::I386, 11));
    }
    denials.count(&decision(Verdict::Return(-1)), &call(Arch::X86_64, 511));
    // What no call has, another entry, x32: they share a counter.
    for (entry, nr) in [
        (Arch::X86_64, 512),
        (Arch::X86_64, -1),
        (Arch::Aarch64, 0),
        (Arch::X32, 1 << 30),
        (Arch::I386, i32::MIN),
    ] {
        denials.count(&decision(Verdict::Return(-1)), &call(entry, nr));
    }
    let rows: Vec<_> = denials.iter().collect();
    let row = |entry: Arch, nr, count| Denied { arch: entry.audit_arch(), nr, count };
    assert_eq!(rows, [row(Arch::X86_64, 511, 1), row(Arch::I386, 11, 6)]);
    assert_eq!(denials.other(), 5);
}

#[test]
fn no_denial_of_any_thread_is_lost() {
    const CALLS: i32 = if cfg!(miri) { 100 } else { 10_000 };
    let denials = Denials::new(&[Arch::X86_64]).expect("there is memory");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for nr in 0..CALLS {
                    denials.count(&decision(Verdict::Return(-1)), &call(Arch::X86_64, nr % 100));
                }
            });
        }
    });
    assert_eq!(denials.iter().map(|row| row.count).collect::<Vec<_>>(), [CALLS.cast_unsigned() / 25; 100]);
}
