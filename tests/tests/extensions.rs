//! `examples/extensions/`: the header says what the library does, and each example compiles, is verified and decides
//! as it says, at every level of clang's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cbpf_translator::seccomp;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_rbpf::object::Object;
use seccomp_runtime::verifier::{Environment, Helper, Program, verify};
use seccomp_runtime::{EngineKind, Extension, HELPERS, Map, SeccompData};
use seccomp_tests::clang::compile;
use seccomp_tests::extension::Host;

const LEVELS: [&str; 4] = ["-O0", "-O1", "-O2", "-O3"];
const CPUS: [&str; 3] = ["-mcpu=v1", "-mcpu=v2", "-mcpu=v3"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/extensions")
}

fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).expect("the file is there")
}

/// The examples, by their files' names.
fn examples() -> Vec<String> {
    let names = fs::read_dir(directory())
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("names are text"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".c")).collect();
    names.sort();
    names
}

fn helpers() -> Vec<Helper> {
    HELPERS.iter().map(|row| row.helper).collect()
}

#[test]
fn the_header_has_every_helper_with_its_number() {
    for row in &HELPERS {
        let source = format!(
            "#include \"seccomp_filter.h\"\nSEC(\"seccomp\") int f(void) {{ return (int)(long)bpf_{}; }}\n",
            row.name
        );
        let object = Object::parse(&compile(&source, &["-O1"]).expect("it is C")).expect("it is a filter");
        let insns = &object.filters[0].insns;
        assert_eq!((insns.len(), insns[0].imm), (2, row.helper.id), "bpf_{}", row.name);
    }
    let header = read("seccomp_filter.h");
    assert_eq!(header.lines().filter(|line| line.starts_with("__helper ")).count(), HELPERS.len());
}

#[test]
fn the_headers_numbers_are_the_librarys() {
    let mut expected: Vec<(String, u64)> = [
        ("SECCOMP_RET_KILL_PROCESS", seccomp::RET_KILL_PROCESS),
        ("SECCOMP_RET_KILL_THREAD", seccomp::RET_KILL_THREAD),
        ("SECCOMP_RET_TRAP", seccomp::RET_TRAP),
        ("SECCOMP_RET_ERRNO", seccomp::RET_ERRNO),
        ("SECCOMP_RET_USER_NOTIF", seccomp::RET_USER_NOTIF),
        ("SECCOMP_RET_TRACE", seccomp::RET_TRACE),
        ("SECCOMP_RET_LOG", seccomp::RET_LOG),
        ("SECCOMP_RET_ALLOW", seccomp::RET_ALLOW),
        ("SECCOMP_RET_ACTION_FULL", seccomp::RET_ACTION_FULL),
        ("SECCOMP_RET_DATA", seccomp::RET_DATA),
        ("AUDIT_ARCH_X86_64", seccomp::AUDIT_ARCH_X86_64),
        ("AUDIT_ARCH_I386", seccomp::AUDIT_ARCH_I386),
        ("AUDIT_ARCH_AARCH64", seccomp::AUDIT_ARCH_AARCH64),
        ("AUDIT_ARCH_ARM", seccomp::AUDIT_ARCH_ARM),
        ("AUDIT_ARCH_RISCV64", seccomp::AUDIT_ARCH_RISCV64),
        ("AUDIT_ARCH_RISCV32", seccomp::AUDIT_ARCH_RISCV32),
        ("AUDIT_ARCH_LOONGARCH64", seccomp::AUDIT_ARCH_LOONGARCH64),
        ("__X32_SYSCALL_BIT", X32_SYSCALL_BIT.cast_unsigned()),
        ("sizeof(struct seccomp_data)", size_of::<SeccompData>() as u32),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    let constants = expected.len();
    let errnos = [
        ("EPERM", libc::EPERM),
        ("ENOENT", libc::ENOENT),
        ("ESRCH", libc::ESRCH),
        ("EINTR", libc::EINTR),
        ("EIO", libc::EIO),
        ("E2BIG", libc::E2BIG),
        ("EBADF", libc::EBADF),
        ("EAGAIN", libc::EAGAIN),
        ("ENOMEM", libc::ENOMEM),
        ("EACCES", libc::EACCES),
        ("EFAULT", libc::EFAULT),
        ("EBUSY", libc::EBUSY),
        ("EEXIST", libc::EEXIST),
        ("ENOTDIR", libc::ENOTDIR),
        ("EINVAL", libc::EINVAL),
        ("ENOSPC", libc::ENOSPC),
        ("EROFS", libc::EROFS),
        ("ENOSYS", libc::ENOSYS),
        ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
        ("ENETUNREACH", libc::ENETUNREACH),
        ("ECONNREFUSED", libc::ECONNREFUSED),
    ];
    expected.extend(errnos.map(|(name, value)| (name.into(), value as u64)));
    let header = read("seccomp_filter.h");
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_whitespace().next());
    let (mut calls, mut actions_and_machines, mut found_errnos) = (0, 0, 0);
    for name in defined {
        if let Some(call) = name.strip_prefix("__NR_") {
            let number = Arch::X86_64.syscall_number(call).unwrap_or_else(|| panic!("there is no {call}"));
            expected.push((name.into(), number as u64));
            calls += 1;
        }
        actions_and_machines += usize::from(name.starts_with("SECCOMP_RET_") || name.starts_with("AUDIT_"));
        found_errnos += usize::from(name.starts_with('E'));
    }
    assert_eq!(calls, (0..512).filter(|nr| Arch::X86_64.syscall_name(*nr).is_some()).count());
    // The last two have other names.
    assert_eq!(actions_and_machines, constants - 2);
    assert_eq!(found_errnos, errnos.len());
    let asserts =
        expected.iter().map(|(name, value)| format!("_Static_assert({name} == {value}ULL, \"{name}\");\n"));
    let source = format!("#include \"seccomp_filter.h\"\n{}", asserts.collect::<String>());
    if let Err(error) = compile(&source, &["-O1"]) {
        panic!("{error}");
    }
}

#[test]
fn every_example_is_in_the_readme() {
    let readme = read("README.md");
    let missing: Vec<_> =
        examples().into_iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(examples().len() >= 7);
}

/// How an example fares: instructions, and instructions walked over.
fn verified(source: &str, options: &[&str]) -> Result<(usize, usize), String> {
    let object = Object::parse(&compile(source, options)?).map_err(|error| error.to_string())?;
    let (maps, helpers) = (object.descriptors(), helpers());
    let program = Program::new(object.filter(None).map_err(|error| error.to_string())?.insns.clone());
    let verified =
        verify(program, &Environment { maps: &maps, helpers: &helpers }).map_err(|e| e.to_string())?;
    Ok((verified.insns().len(), verified.visited()))
}

#[test]
fn every_example_is_verified_at_every_level() {
    let mut refused = Vec::new();
    for name in examples() {
        let source = read(&name);
        for level in LEVELS {
            let figures = CPUS.map(|cpu| match verified(&source, &[level, cpu]) {
                Ok((len, visited)) => format!("{cpu} {len:>4} insns, {visited:>6} walked"),
                Err(why) => {
                    refused.push(format!("{name} {level} {cpu}: {why}"));
                    format!("{cpu} refused")
                }
            });
            println!("{name:18} {level} {}", figures.join("   "));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// An example on an engine, and the kernel it runs in.
struct Example {
    extension: Extension,
    host: Host,
    names: Vec<String>,
}

impl Example {
    fn call(&self, nr: &str, args: &[u64]) -> u32 {
        self.number(Arch::X86_64.syscall_number(nr).expect("it is a call"), args)
    }

    fn number(&self, nr: i32, args: &[u64]) -> u32 {
        let mut data = SeccompData { nr, arch: Arch::X86_64.audit_arch(), ..SeccompData::default() };
        data.args[..args.len()].copy_from_slice(args);
        self.extension.run(&data, &self.host)
    }

    fn map(&self, name: &str) -> &Arc<Map> {
        let index = self.names.iter().position(|other| other == name).expect("it is a map");
        &self.extension.maps()[index]
    }

    fn value(&self, map: &str, key: &[u8]) -> Vec<u8> {
        let map = self.map(map);
        let mut value = vec![0; map.value_len()];
        map.lookup(key, &mut value).expect("the key is there");
        value
    }
}

/// Runs a test of an example at every level and on every engine, each with maps of its own.
fn everywhere(name: &str, test: impl Fn(&Example)) {
    let source = read(name);
    for level in LEVELS {
        for cpu in CPUS {
            let object =
                Object::parse(&compile(&source, &[level, cpu]).expect("it is C")).expect("it is a filter");
            let (maps, helpers) = (object.descriptors(), helpers());
            let program = Program::new(object.filter(None).expect("there is one").insns.clone());
            let verified =
                verify(program, &Environment { maps: &maps, helpers: &helpers }).expect("it is safe");
            for engine in [EngineKind::Jit, EngineKind::Interpreter, EngineKind::Native] {
                println!("{name} {level} {cpu} {engine:?}");
                let maps = object.create_maps([7, 11]).expect("there is memory");
                let extension = Extension::load(&verified, maps, &HELPERS, engine, &HostExecMemory)
                    .expect("it can be loaded");
                assert_eq!(extension.fell_back(), None);
                let names = object.maps.iter().map(|map| map.name.clone()).collect();
                let host = Host::default();
                host.now.set(1_000_000_000);
                host.pid.set(41);
                host.tgid.set(40);
                test(&Example { extension, host, names });
            }
        }
    }
}

const ALLOW: u32 = seccomp::RET_ALLOW;

const fn errno(errno: i32) -> u32 {
    seccomp::RET_ERRNO | errno as u32
}

#[test]
fn the_rate_limit_gives_tokens_by_time_and_process() {
    everywhere("rate-limit.c", |example| {
        let many =
            |count: usize| -> usize { (0..count).filter(|_| example.call("unlink", &[]) == ALLOW).count() };
        assert_eq!(many(12), 8);
        assert_eq!(example.call("unlinkat", &[]), errno(libc::EAGAIN));
        assert_eq!(example.call("getpid", &[]), ALLOW);
        example.host.now.set(example.host.now.get() + 250_000_000);
        assert_eq!(many(3), 1);
        example.host.now.set(example.host.now.get() + 3_600_000_000_000);
        assert_eq!(many(12), 8);
        // Another process has its own, a child what its parent had.
        example.host.tgid.set(50);
        assert_eq!(many(9), 8);
        example.map("buckets").task_forked(50, 51).unwrap();
        example.host.tgid.set(51);
        assert_eq!(many(3), 0);
    });
}

#[test]
fn there_are_so_many_execs_and_no_more() {
    everywhere("max-execs.c", |example| {
        for _ in 0..4 {
            assert_eq!(example.call("execve", &[]), ALLOW);
        }
        assert_eq!(example.call("execveat", &[]), errno(libc::EPERM));
        example.host.tgid.set(7);
        assert_eq!(example.call("execve", &[]), errno(libc::EPERM));
        assert_eq!(example.call("fork", &[]), ALLOW);
        assert_eq!(example.value("execs", &3_u32.to_ne_bytes()), (40_u64 << 32 | 41).to_ne_bytes());
    });
}

#[test]
fn who_serves_opens_nothing_any_more() {
    everywhere("phases.c", |example| {
        assert_eq!(example.call("openat", &[]), ALLOW);
        assert_eq!(example.number(1000, &[]), errno(0));
        assert_eq!(example.call("openat", &[]), errno(libc::EPERM));
        assert_eq!(example.call("execve", &[]), errno(libc::EPERM));
        assert_eq!(example.call("read", &[]), ALLOW);
        example.map("serving").task_forked(40, 60).unwrap();
        example.host.tgid.set(60);
        assert_eq!(example.call("socket", &[]), errno(libc::EPERM));
        // One that never said so.
        example.host.tgid.set(61);
        assert_eq!(example.call("socket", &[]), ALLOW);
    });
}

#[test]
fn calls_are_counted_and_printed() {
    everywhere("count.c", |example| {
        for _ in 0..3 {
            assert_eq!(example.call("read", &[]), ALLOW);
        }
        for _ in 0..5 {
            assert_eq!(example.call("write", &[]), ALLOW);
        }
        assert_eq!(example.number(600, &[]), ALLOW);
        assert_eq!(example.number(-1, &[]), ALLOW);
        assert_eq!(example.call("exit_group", &[]), ALLOW);
        assert_eq!(example.value("counts", &0_u32.to_ne_bytes()), 3_u64.to_ne_bytes());
        // The variables, in whichever order clang puts them.
        let variables = example.value(".bss", &0_u32.to_ne_bytes());
        assert!(variables.chunks(8).any(|variable| variable == 2_u64.to_ne_bytes()), "{variables:?}");
        assert_eq!(*example.host.lines.borrow(), ["40 ends: call 1 was made 5 times"]);
    });
}

#[test]
fn mail_servers_are_not_connected_to() {
    everywhere("deny-connect.c", |example| {
        let connect = |family: u16, port: u16| {
            let mut address = family.to_ne_bytes().to_vec();
            address.extend(port.to_be_bytes());
            example.host.put(0x1000, &address);
            example.call("connect", &[3, 0x1000, 16])
        };
        assert_eq!(connect(2, 80), ALLOW);
        assert_eq!(connect(2, 25), errno(libc::EACCES));
        assert_eq!(connect(10, 587), errno(libc::EACCES));
        assert_eq!(connect(1, 25), ALLOW);
        assert_eq!(connect(2, 25 << 8), ALLOW);
        assert_eq!(example.call("connect", &[3, 0x9000, 16]), errno(libc::EFAULT));
        let mut event = [0; 8];
        let mut next = || example.map("events").next_event(&mut event).unwrap().map(|len| (len, event));
        let expected =
            |port: u32| Some((8, [41_u32.to_ne_bytes(), port.to_ne_bytes()].concat().try_into().unwrap()));
        assert_eq!([next(), next(), next()], [expected(25), expected(587), None]);
    });
}

#[test]
fn files_are_opened_below_the_directories_only() {
    everywhere("open-prefix.c", |example| {
        let open = |path: &str| {
            example.host.put(0x2000, &[path.as_bytes(), &[0; 256]].concat());
            example.call("openat", &[0, 0x2000])
        };
        for path in
            ["/usr/lib/x", "/lib64/ld.so", "/dev/null", "/proc/self/maps", "/etc/ld.so.cache", "/usr/a.."]
        {
            assert_eq!(open(path), ALLOW, "{path}");
        }
        let long = format!("/usr/{}", "x".repeat(200));
        for path in ["/etc/passwd", "/usr", "usr/x", "/usr/../etc/passwd", "/usr/x/..", "", "/dev/nul", &long]
        {
            assert_eq!(open(path), errno(libc::EACCES), "{path}");
        }
        // The longest that is read whole, and one more.
        assert_eq!(open(&format!("/usr/{}", "x".repeat(121))), ALLOW);
        assert_eq!(open(&format!("/usr/{}", "x".repeat(122))), errno(libc::EACCES));
        assert_eq!(example.call("openat", &[0, 0x9000]), errno(libc::EFAULT));
        assert_eq!(example.call("open", &[]), errno(libc::EACCES));
        assert_eq!(example.call("openat2", &[]), errno(libc::ENOSYS));
        assert_eq!(example.call("read", &[]), ALLOW);
    });
}

#[test]
fn arguments_are_checked_once() {
    everywhere("argument-cache.c", |example| {
        let counters = || {
            let value = example.value(".bss", &0_u32.to_ne_bytes());
            let word = |at: usize| u64::from_ne_bytes(value[at..at + 8].try_into().unwrap());
            (word(0), word(8))
        };
        let twice = |nr: &str, args: &[u64]| [example.call(nr, args), example.call(nr, args)];
        assert_eq!(twice("socket", &[2, 1]), [ALLOW; 2]);
        // What the check does not read is no other call.
        assert_eq!(twice("socket", &[2, 7]), [ALLOW; 2]);
        assert_eq!(counters(), (3, 1));
        assert_eq!(twice("socket", &[40]), [errno(libc::EPERM); 2]);
        assert_eq!(counters(), (3, 3));
        assert_eq!(twice("ioctl", &[1, 0x5413]), [ALLOW; 2]);
        assert_eq!(twice("ioctl", &[1, 0x5412]), [errno(libc::EPERM); 2]);
        assert_eq!(twice("mmap", &[0, 4096, 3]), [ALLOW; 2]);
        assert_eq!(twice("mprotect", &[0, 4096, 6]), [errno(libc::EPERM); 2]);
        assert_eq!(twice("clone", &[0x11]), [ALLOW; 2]);
        assert_eq!(twice("unshare", &[0x1000_0000]), [errno(libc::EPERM); 2]);
        assert_eq!(example.call("clone3", &[]), errno(libc::ENOSYS));
        assert_eq!(example.call("read", &[]), ALLOW);
        assert_eq!(counters(), (6, 12));
    });
}
