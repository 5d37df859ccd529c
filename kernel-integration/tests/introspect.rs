//! The ptrace requests and files about a thread's filters. `introspect_host` asks Linux about the requests.

use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::ControlFlow;

use seccomp_kernel::introspect::{
    IntrospectError, PTRACE_SECCOMP_GET_FILTER, PTRACE_SECCOMP_GET_METADATA, Request, Status,
};
use seccomp_kernel::runtime::translator::{SockFilter, check};
use seccomp_kernel::runtime::{ExecMemory, NoExecMemory};
use seccomp_kernel::uapi::{FilterFlags, SECCOMP_MODE_STRICT};
use seccomp_kernel::{
    Arch, Fault, GroupLock, Interrupted, Kernel, Mode, NR_SYSCALLS, SeccompCache, Thread, ThreadGroup,
    ThreadState, attach, syscall,
};

/// Where the memory of a [`Machine`] is.
const BASE: u64 = 0x1000;

/// A machine with one thread and some memory.
struct Machine {
    thread: ThreadState,
    memory: RefCell<Vec<u8>>,
}

impl Machine {
    fn new(memory: usize) -> Self {
        Self { thread: ThreadState::new(), memory: RefCell::new(vec![0xaa; memory]) }
    }

    /// Installs filters, the first the oldest.
    fn with(self, filters: &[(FilterFlags, &[SockFilter])]) -> Self {
        for (flags, program) in filters {
            let program = check(program.to_vec()).expect("a filter");
            attach(&self, program, *flags).expect("there is memory");
        }
        self
    }

    fn access(&self, address: u64, len: usize, f: impl FnOnce(&mut [u8])) -> Result<(), Fault> {
        let from = usize::try_from(address.checked_sub(BASE).ok_or(Fault)?).map_err(|_| Fault)?;
        let mut memory = self.memory.borrow_mut();
        f(memory.get_mut(from..).and_then(|rest| rest.get_mut(..len)).ok_or(Fault)?);
        Ok(())
    }
}

impl Thread for Machine {
    fn seccomp(&self) -> &ThreadState {
        &self.thread
    }
    fn tid(&self) -> i32 {
        1
    }
    fn no_new_privs(&self) -> bool {
        true
    }
    fn set_no_new_privs(&self) {}
}

struct Alone;

impl ThreadGroup for Alone {
    type Thread = Machine;
    fn for_each_sibling(&self, _: &mut dyn FnMut(&Machine) -> ControlFlow<()>) {}
}

impl Kernel for Machine {
    type Thread = Self;
    type Group = Alone;
    type NewListener = Infallible;
    fn current(&self) -> &Self {
        self
    }
    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.access(address, into.len(), |bytes| into.copy_from_slice(bytes))
    }
    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.access(address, from.len(), |bytes| bytes.copy_from_slice(from))
    }
    fn may_install(&self) -> bool {
        true
    }
    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Alone) -> R) -> Result<R, Interrupted> {
        Ok(f(&Alone))
    }
    fn exec_memory(&self) -> &dyn ExecMemory {
        &NoExecMemory
    }
    fn planned_entries(&self) -> &[Arch] {
        &[]
    }
}

const ALLOW: SockFilter = SockFilter::new(0x06, 0, 0, 0x7fff_0000);

fn get_filter(index: u64, program: u64) -> Request {
    Request::GetFilter { index, program }
}

fn get_metadata(size: u64) -> Request {
    Request::GetMetadata { size, metadata: BASE }
}

#[test]
fn requests_are_those_of_ptrace() {
    assert_eq!(Request::decode(PTRACE_SECCOMP_GET_FILTER, 1, 2), Some(get_filter(1, 2)));
    assert_eq!(Request::decode(PTRACE_SECCOMP_GET_METADATA, 7, BASE), Some(get_metadata(7)));
    assert_eq!(Request::decode(0x420b, 0, 0), None);
}

#[test]
fn the_oldest_filter_comes_first_and_with_every_instruction() {
    // Longer than what is copied at a time, and not a multiple of it.
    let long: Vec<_> = (0..150).map(|k| SockFilter::new(0x00, 1, 2, k)).chain([ALLOW]).collect();
    let target = Machine::new(0).with(&[(FilterFlags::empty(), &long), (FilterFlags::LOG, &[ALLOW])]);
    let caller = Machine::new(151 * 8);
    assert_eq!(get_filter(0, 0).serve(&caller, true, &target.thread), Ok(151));
    assert!(caller.memory.borrow().iter().all(|byte| *byte == 0xaa));
    assert_eq!(get_filter(0, BASE).serve(&caller, true, &target.thread), Ok(151));
    let read: Vec<_> =
        caller.memory.borrow().as_chunks().0.iter().copied().map(SockFilter::from_ne_bytes).collect();
    assert_eq!(read, long);
    assert_eq!(get_filter(1, BASE).serve(&caller, true, &target.thread), Ok(1));
    for index in [2, u64::from(u32::MAX), u64::MAX] {
        let answer = get_filter(index, BASE).serve(&caller, true, &target.thread);
        assert_eq!(answer, Err(IntrospectError::NoFilter));
    }
    let answer = get_filter(0, BASE + 8).serve(&caller, true, &target.thread);
    assert_eq!(answer, Err(IntrospectError::Fault));
}

#[test]
fn metadata_is_as_long_as_there_is_room() {
    let target = Machine::new(0).with(&[(FilterFlags::LOG, &[ALLOW]), (FilterFlags::SPEC_ALLOW, &[ALLOW])]);
    for (index, flags) in [(0u64, 2u64), (1, 0)] {
        for size in [8, 12, 16, 24, u64::MAX] {
            let caller = Machine::new(24);
            caller.write_user(BASE, &index.to_ne_bytes()).expect("it is there");
            let written = usize::try_from(size.min(16)).expect("it is small");
            assert_eq!(get_metadata(size).serve(&caller, true, &target.thread), Ok(written as u64));
            let mut expected = [index.to_ne_bytes(), flags.to_ne_bytes(), [0xaa; 8]].concat();
            expected[written..].fill(0xaa);
            assert_eq!(*caller.memory.borrow(), expected);
        }
    }
}

#[test]
fn errors_have_their_order() {
    use IntrospectError::*;
    let plain = Machine::new(16);
    plain.write_user(BASE, &9u64.to_ne_bytes()).expect("it is there");
    let strict = Machine::new(16);
    syscall::prctl_set_seccomp(&strict, Arch::X86_64, SECCOMP_MODE_STRICT, 0).expect("it is allowed");
    let filtered = Machine::new(16).with(&[(FilterFlags::empty(), &[ALLOW])]);
    let unreadable = Request::GetMetadata { size: 16, metadata: 0 };
    let rows = [
        ("no privilege", &plain, false, &plain, get_metadata(7), Denied),
        ("a filtered caller", &filtered, true, &plain, get_metadata(7), Denied),
        ("a strict caller", &strict, true, &plain, get_filter(0, 0), Denied),
        ("no room", &plain, true, &plain, Request::GetMetadata { size: 7, metadata: 0 }, Size),
        ("no memory", &plain, true, &plain, unreadable, Fault),
        ("no seccomp", &plain, true, &plain, get_metadata(16), Mode),
        ("strict mode", &plain, true, &strict, get_filter(9, 1), Mode),
        ("past the end", &plain, true, &filtered, get_metadata(16), NoFilter),
        ("past the end, no memory", &plain, true, &filtered, get_filter(9, 1), NoFilter),
        ("nowhere to write", &plain, true, &filtered, get_filter(0, 1), Fault),
    ];
    for (name, caller, sys_admin, target, request, error) in rows {
        assert_eq!(request.serve(caller, sys_admin, &target.thread), Err(error), "{name}");
    }
}

#[test]
fn status_is_three_lines() {
    let machine = Machine::new(0).with(&[(FilterFlags::empty(), &[ALLOW][..]); 2]);
    assert_eq!(Status::of(&machine).to_string(), "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n");
    let dead = Status { no_new_privs: false, mode: Mode::Dead, filters: 10 };
    assert_eq!(dead.to_string(), "NoNewPrivs:\t0\nSeccomp:\t3\nSeccomp_filters:\t10\n");
}

#[test]
#[cfg_attr(miri, ignore = "thousands of lines of text")]
fn the_cache_has_a_line_for_each_number_of_each_entry() {
    let kill = SockFilter::new(0x06, 0, 0, 0);
    let nr = SockFilter::new(0x20, 0, 0, 0);
    let only_39 = [nr, SockFilter::new(0x15, 0, 1, 39), ALLOW, kill];
    let only_native = [SockFilter::new(0x20, 0, 0, 4), SockFilter::new(0x15, 0, 1, 0xc000_003e), ALLOW, kill];
    let plain = FilterFlags::empty();
    let text = |entries: &[Arch], machine: &Machine| {
        SeccompCache::new(entries, true, &machine.thread).expect("it is allowed").to_string()
    };
    let x86 = [Arch::X86_64, Arch::I386];

    assert_eq!(text(&x86, &Machine::new(0)), "");
    assert_eq!(SeccompCache::new(&x86, false, &ThreadState::new()).map(|_| ()), Err(IntrospectError::Denied));

    let one = text(&x86, &Machine::new(0).with(&[(plain, &only_39)]));
    let lines: Vec<_> = one.lines().collect();
    assert_eq!(lines.len(), 2 * NR_SYSCALLS as usize);
    assert_eq!((lines[0], lines[469]), ("x86_64 0 FILTER", "x86_64 469 FILTER"));
    assert_eq!((lines[470], lines[939]), ("ia32 0 FILTER", "ia32 469 FILTER"));
    let allowed: Vec<_> = one.lines().filter(|line| line.ends_with(" ALLOW")).collect();
    assert_eq!(allowed, ["x86_64 39 ALLOW", "x86_64 335 ALLOW", "x86_64 336 ALLOW", "ia32 39 ALLOW"]);

    // Both have to allow, whichever is the newer.
    for filters in
        [[(plain, &only_39[..]), (plain, &only_native)], [(plain, &only_native), (plain, &only_39)]]
    {
        let two = text(&x86, &Machine::new(0).with(&filters));
        let allowed: Vec<_> = two.lines().filter(|line| line.ends_with(" ALLOW")).collect();
        assert_eq!(allowed, ["x86_64 39 ALLOW", "x86_64 335 ALLOW", "x86_64 336 ALLOW"]);
    }
    let arm = text(&[Arch::Aarch64, Arch::Arm], &Machine::new(0).with(&[(plain, &[ALLOW])]));
    assert!(arm.starts_with("aarch64 0 ALLOW\n") && arm.ends_with("\narm 469 ALLOW\n"));
}
