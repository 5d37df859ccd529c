//! Lines of any kind are counted, and nothing else happens.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

fn replay(filter: &str) -> Replay {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("filter.asm");
    std::fs::write(&path, filter).unwrap();
    let stack = Stack::load(&[path], Arch::X86_64, &ProfileArgs::default()).unwrap();
    Replay::new(stack, Arch::X86_64)
}

const DENY: &str = "
        ld [0]
        jeq #socket, socket
        jeq #openat, openat
        jeq #mkdir, deny
        jeq #getpid, ip
        ret #SECCOMP_RET_ALLOW
socket: ld [16]
        jeq #10, deny
        ret #SECCOMP_RET_ALLOW
openat: ld [20]
        jeq #0xffffffff, deny
        ret #SECCOMP_RET_ALLOW
ip:     ld [8]
        jeq #7, deny
        ret #SECCOMP_RET_ALLOW
deny:   ret #SECCOMP_RET_ERRNO|1
";

fn counts(log: &str) -> serde_json::Value {
    let mut replay = replay(DENY);
    for line in log.lines() {
        replay.line(line.as_bytes(), false).unwrap();
    }
    let json = replay.finish().json();
    serde_json::json!([
        json["calls"],
        json["denied"]["count"],
        json["undecided"]["count"],
        json["not_understood"]["count"]
    ])
}

#[test]
fn what_is_not_known_is_not_decided() {
    let rows = [
        ("socket(AF_INET6, SOCK_STREAM, 0) = 3", [1, 1, 0, 0]),
        ("socket(AF_INET, SOCK_STREAM, 0) = 3", [1, 0, 0, 0]),
        ("socket(AF_NOPE, SOCK_STREAM, 0) = 3", [1, 0, 1, 0]),
        // Bits that are set cannot be those of 10.
        ("socket(AF_NOPE|0x4, SOCK_STREAM, 0) = 3", [1, 0, 0, 0]),
        ("openat(AT_FDCWD, \"x\", O_RDONLY) = 3", [1, 0, 1, 0]),
        ("openat(3, \"x\", O_RDONLY) = 3", [1, 0, 0, 0]),
        ("openat(0xffffff9c, 0x7f0, 0) = 3", [1, 0, 0, 0]),
        ("getpid() = 3", [1, 0, 1, 0]),
        ("[0000000000000007] getpid() = 3", [1, 1, 0, 0]),
        ("[0000000000000008] getpid() = 3", [1, 0, 0, 0]),
        ("mkdir(\"x\", 0777 <unfinished ...>\n+++ killed by SIGKILL +++", [1, 1, 0, 0]),
        ("7 mkdir(\"x\", <unfinished ...>\n8 getuid() = 0\n7 <... mkdir resumed>0777) = 0", [2, 1, 0, 0]),
        ("[pid 7] <... mkdir resumed>0777) = 0", [1, 1, 0, 0]),
        ("[pid 7] <... socket resumed>) = 0", [1, 0, 1, 0]),
        ("mkdir(\"x\", 0strace: Process 9 attached\n777) = 0", [1, 1, 0, 0]),
        ("write(1, \"x\\n\", 2x\n) = 2", [1, 0, 0, 0]),
        ("nope(1) = 0\nhello\nmkdir(1, 2, 3, 4, 5, 6, 7) = 0", [0, 0, 0, 3]),
        ("mmap2(NULL, 1, 0, 0, -1, 0) = 1", [0, 0, 0, 1]),
        ("[ Process PID=7 runs in 32 bit mode. ]\nmmap2(NULL, 1, 0, 0, -1, 0) = 1", [1, 0, 0, 0]),
        ("[  83] mkdir(\"x\", 0777) = 0\n[ 192] mmap2(NULL, 1, 0, 0, -1, 0) = 1", [2, 1, 0, 0]),
        ("syscall_0x53(0x1) = 0\n???( <unfinished ...>", [1, 1, 0, 1]),
        ("7 mkdir c000003e 83 0 1 2 3 4 5 6 = 0x7fff0000 ALLOW", [1, 1, 0, 0]),
    ];
    for (log, expected) in rows {
        assert_eq!(counts(log), serde_json::json!(expected), "{log}");
    }
}

/// Real lines, of which every byte may be another.
const LINES: &str = r#"
[pid  1234] 10:11:12.123456 [  257] [00007f3c1a2b3c4d] openat(AT_FDCWD</tmp>, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3</etc/passwd> <0.000012>
1234 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>
1234 <... clone resumed>, child_tidptr=0x7f880c627a10) = 12559
clone(child_stack=NULL, flags=CLONE_VM|SIGCHLDstrace: Process 12559 attached
, child_tidptr=0x7f880c627a10) = 12559
1700000000.123 socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3<TCPv6:[[::1]:1->[::1]:2]>
[ Process PID=1234 runs in 32 bit mode. ]
mmap2(NULL, 4096, 0x3 /* PROT_READ|PROT_WRITE */, MAP_PRIVATE|21<<MAP_HUGE_SHIFT, -1, 0x1000) = 0xf7f53000
ioctl(0, _IOC(_IOC_READ|_IOC_WRITE, 0xbe, 0xef, 0x1ead), 0x1) = -1 ENOTTY (Inappropriate ioctl for device)
7 mkdir c000003e 83 10 1 2 3 4 5 ff = 0x00050001 ERRNO(1 EPERM)
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=11977} ---
[pid 1234] +++ exited with 0 +++
"#;

#[test]
fn every_line_of_any_bytes_is_counted_once() {
    let seed = crate::host::random();
    let mut rng = SmallRng::seed_from_u64(seed.into());
    let mut replay = replay(DENY);
    let lines: Vec<_> = LINES.lines().collect();
    let mut count = 0;
    for _ in 0..100_000 {
        let mut line = match rng.random_range(0..8) {
            0 => (0..rng.random_range(0..64)).map(|_| rng.next_u32() as u8).collect(),
            _ => lines[rng.random_range(0..lines.len())].as_bytes().to_vec(),
        };
        for _ in 0..rng.random_range(0..4) {
            if line.is_empty() {
                break;
            }
            let (place, other) = (rng.random_range(0..line.len()), rng.random_range(0..line.len()));
            match rng.random_range(0..5) {
                0 => line[place] = rng.next_u32() as u8,
                1 => drop(line.remove(place)),
                2 => line.truncate(place),
                3 => line.swap(place, other),
                _ => line.insert(place, b"<>()[]{}\"\\|,*/-= \n0a"[rng.random_range(0..20)]),
            }
        }
        count += 1;
        replay
            .line(&line, rng.random_ratio(1, 50))
            .unwrap_or_else(|error| panic!("seed {seed}: {line:?}: {error}"));
    }
    let json = replay.finish().json();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert_eq!(number(&json["lines"]), count);
    let parts = [&json["calls"], &json["other_lines"], &json["not_understood"]["count"]].map(number);
    // A line that goes on another, or waits for the rest, is of a call that was counted.
    assert!(
        parts.iter().sum::<u64>() <= count && parts.iter().all(|part| *part > 1000),
        "seed {seed}: {parts:?}"
    );
}

#[test]
fn beginnings_that_do_not_end_are_bounded() {
    let mut replay = replay(DENY);
    let long = "x".repeat(MAX_HEAD);
    for pid in 1..10_000 {
        replay.line(format!("{pid} mkdir(\"{long}\", <unfinished ...>").as_bytes(), false).unwrap();
        replay.line(format!("{} mkdir(\"x\", <unfinished ...>", pid + 10_000).as_bytes(), false).unwrap();
    }
    for pid in 1..10_000 {
        replay.line(format!("{pid} <... mkdir resumed>0777) = 0").as_bytes(), false).unwrap();
    }
    let json = replay.finish().json();
    assert_eq!(json["denied"]["count"], 2 * 9_999);
    assert_eq!(json["not_understood"]["count"], 0);
}
