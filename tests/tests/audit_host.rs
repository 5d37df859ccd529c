//! Audit records and the sysctl that chooses them, by Linux and by us.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::Command;
use std::{fs, thread};

use cbpf_translator::SockFilter;
use seccomp_kernel::sysctl::{ACTIONS_AVAIL, ActionsLogged};
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{Arch, LogMask, Untrusted};
use seccomp_tests::audit::{ACTIONS_LOGGED, Event, Made, Records, Sysctl};
use seccomp_tests::{host, introspect};
use syscalls::Errno;

const LOG: u32 = 0x7ffc_0000;
const GETPPID: i32 = 110;
const GETPPID_I386: i32 = 64;

/// Records may be lost where many are written, so each is asked for this often.
const TRIES: usize = 5;

/// Answers calls of `nr` with `value` and allows the rest.
fn on(nr: i32, value: u32) -> Vec<SockFilter> {
    vec![
        SockFilter::new(0x20, 0, 0, 0),
        SockFilter::new(0x15, 0, 1, nr.cast_unsigned()),
        SockFilter::new(0x06, 0, 0, value),
        SockFilter::new(0x06, 0, 0, 0x7fff_0000),
    ]
}

fn event(flags: u32, value: u32) -> Event {
    Event {
        comm: b"event".to_vec(),
        ids: (0, 0),
        filter: (flags, on(GETPPID, value)),
        entry: Arch::X86_64,
        nr: GETPPID,
    }
}

#[test]
fn records_are_the_same_to_the_byte() {
    if !host::enabled() {
        return;
    }
    let _sysctl = Sysctl::lock();
    let mut records = Records::new();
    let comms: [&[u8]; 14] = [
        b"plain",
        b"",
        b"with space",
        b"quo\"te",
        b"back\\slash",
        b"comm=\"x\"",
        b"=",
        b"tab\t",
        b"line\nbreak",
        b"\x7f",
        b"\x01\xff\x80",
        "ünïcode".as_bytes(),
        b"fifteen_bytes__",
        b"sixteen_bytes___",
    ];
    let named = comms.map(|comm| Event { comm: comm.to_vec(), ..event(0, LOG) });
    let log = FilterFlags::LOG.bits();
    let values = [0, 0x8000_0000, 0x0003_0007, 0x0005_0016, 0x7fc0_0000, 0x7ff0_0001, 0x1234_5678];
    let actions = values.map(|value| event(log, value));
    let users = [(1000, 100), (65534, 0), (u32::MAX - 1, u32::MAX - 1)];
    let users = users.map(|ids| Event { ids, ..event(0, LOG) });
    // Numbers that no call has, x32's among them, are filtered too.
    let numbers = [-1, 1 << 30, i32::MIN, i32::MAX].map(|nr| {
        let filter = (log, on(nr, 0x0005_0026));
        [
            Event { nr, filter: filter.clone(), ..event(0, 0) },
            Event { nr, filter, entry: Arch::I386, ..event(0, 0) },
        ]
    });
    let compat =
        Event { entry: Arch::I386, nr: GETPPID_I386, filter: (0, on(GETPPID_I386, LOG)), ..event(0, 0) };
    let events =
        named.into_iter().chain(actions).chain(users).chain(numbers.into_iter().flatten()).chain([compat]);
    let mut same = 0;
    for event in events {
        let mut tries = (0..TRIES).filter_map(|_| {
            let made = event.make();
            Some((made, records.of(made.pid, None).ok()?))
        });
        let (made, linux) = tries.next().unwrap_or_else(|| panic!("no record of {event:?}"));
        // A kernel without x32 says that such a call is none; the kernel tells us, by `Record::compat`.
        assert_eq!(event.ours(made, LogMask::all()), linux, "{event:?}");
        same += 1;
    }
    println!("{same} records");
}

#[test]
fn executables_are_named_in_the_same_way() {
    if !host::enabled() {
        return;
    }
    let _sysctl = Sysctl::lock();
    let mut records = Records::new();
    let directory = std::env::temp_dir().join(format!("seccomp tests {}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    for name in ["plain", "with space", "quo\"te", "ünïcode"] {
        let path = directory.join(name);
        fs::copy("/bin/sh", &path).expect("a shell");
        let program = on(GETPPID, LOG);
        let mut command = Command::new(&path);
        command.args(["-c", ":"]);
        introspect::filtered(&mut command, &program);
        let found = (0..TRIES).find_map(|_| {
            let child = command.spawn();
            let mut child = child.expect("it can be executed");
            let record = records.of(child.id().cast_signed(), None).ok().flatten();
            child.wait().expect("it ends");
            record
        });
        let record = found.unwrap_or_else(|| panic!("no record of {name}"));
        let exe = Untrusted(path.as_os_str().as_encoded_bytes()).to_string();
        assert!(record.contains(&format!(" exe={exe} sig=0 ")), "{record}");
        let comm = Untrusted(&name.as_bytes()[..name.len().min(15)]).to_string();
        assert!(record.contains(&format!(" comm={comm} exe=")), "{record}");
    }
    fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn the_same_calls_are_logged() {
    if !host::enabled() {
        return;
    }
    let sysctl = Sysctl::lock();
    let mut records = Records::new();
    let values = [
        0x8000_0000,
        0x8001_0000,
        0,
        0x0003_0000,
        0x0005_0001,
        0x7fc0_0000,
        0x7ff0_0000,
        LOG,
        0x7fff_0000,
        0x0001_0000,
    ];
    let mut rows = 0;
    for bit in LogMask::all().iter().chain([LogMask::empty()]) {
        // With one bit alone only that, and with all others all but that.
        for mask in [bit, bit.complement()] {
            for (flags, value) in [0, 2].into_iter().flat_map(|flags| values.map(|value| (flags, value))) {
                let event = event(flags, value);
                let ask = |records: &mut Records| {
                    sysctl.write(mask.to_string().as_bytes()).expect("we are root");
                    let made: Made = event.make();
                    // What comes behind is logged whatever the mask was.
                    sysctl.write(LogMask::all().to_string().as_bytes()).expect("we are root");
                    let later = self::event(0, LOG).make();
                    let linux = records.of(made.pid, Some(later.pid));
                    let ours = Ok(event.ours(made, mask));
                    (linux == ours).then_some(()).ok_or((linux, ours))
                };
                let answers: Vec<_> =
                    (0..TRIES).map(|_| ask(&mut records)).take_while(Result::is_err).collect();
                assert!(answers.len() < TRIES, "{value:#x}, flags {flags}, mask {mask}: {answers:?}");
                rows += 1;
            }
        }
    }
    println!("{rows} rows");
}

#[test]
fn writes_to_actions_logged_are_read_alike() {
    if !host::enabled() {
        return;
    }
    let sysctl = Sysctl::lock();
    let avail = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").expect("it is there");
    assert_eq!(avail, format!("{ACTIONS_AVAIL}\n"));

    let repeated = "log trap ".repeat(20);
    let cut = "kill_process kill_thread trap errno user_notif trace log log x";
    let fits = "kill_process kill_thread trap errno user_notif trace log  allow";
    let singles: [&[u8]; 34] = [
        b"",
        b"\n",
        b"\0",
        b" ",
        b"trap",
        b"trap\n",
        b"trap\n\n",
        b"trap log\n",
        b"log trap",
        b"trap trap",
        b"trap  log",
        b" trap",
        b"trap ",
        b"trap \n",
        b"trap\tlog",
        b"trap,log",
        b"TRAP",
        b"tra",
        b"trapp",
        b"allow",
        b"trap allow",
        b"trap  allow",
        b"trap\nallow",
        b"trap\0allow",
        b"allow nonsense",
        b"nonsense",
        b"trap nonsense",
        b"trap\r\n",
        b"\xff",
        b"kill",
        b"kill_process kill_thread trap errno user_notif trace log",
        repeated.as_bytes(),
        cut.as_bytes(),
        fits.as_bytes(),
    ];
    let mut rows: Vec<Vec<&[u8]>> = singles.iter().map(|text| vec![*text]).collect();
    rows.extend([
        vec![&b"trap "[..], b"log"],
        vec![b"trap", b"nonsense"],
        vec![b"", b"trap"],
        vec![b"nonsense", b"trap"],
    ]);
    // A name cut at every place, by the limit of the length.
    let long: Vec<_> = (0..12).map(|pad| format!("{}{ACTIONS_AVAIL}", "log ".repeat(pad))).collect();
    rows.extend(long.iter().map(|text| vec![text.strip_suffix(" allow").unwrap_or(text).as_bytes()]));
    let spaced: Vec<_> = (0..12).map(|pad| format!("trap {}log", "trap ".repeat(pad))).collect();
    rows.extend(spaced.iter().map(|text| vec![text.as_bytes()]));

    let start = b"errno log";
    let compare = |admin: bool| {
        for parts in &rows {
            if admin {
                sysctl.write(start).expect("we are root");
            }
            let ours = ActionsLogged::new();
            ours.write(true, 0, start).outcome.expect("it is right");
            let linux = sysctl.write_parts(parts).map_err(|error| error.raw_os_error());
            let mut offset = 0;
            let answer = parts.iter().try_for_each(|part| {
                ours.write(admin, offset, part)
                    .outcome
                    .map_err(|error| Some(Errno::from(error).into_raw()))?;
                offset += part.len() as u64;
                Ok(())
            });
            assert_eq!(linux, answer, "{parts:?}");
            let text = fs::read_to_string(ACTIONS_LOGGED).expect("anyone may read it");
            assert_eq!(text, format!("{}\n", ours.mask()), "{parts:?}");
        }
    };
    compare(true);
    sysctl.write(start).expect("we are root");
    // Privileges are a thread's.
    thread::scope(|scope| {
        let unprivileged = scope.spawn(|| {
            introspect::drop_sys_admin();
            compare(false);
        });
        unprivileged.join().expect("all rows agree");
    });
    println!("{} rows, twice", rows.len());
}
