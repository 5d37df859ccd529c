//! What StarryOS's own file and the lines around it got wrong, each with its number (S1 to S23), by the adapter and
//! the glue.
//!
//! What is expected is what Linux does: it is asked which programs it refuses, and 931 programs and the decisions of
//! them are compared with its recorded answers. The rest are values that the rows of `tests/cases/` compare with a
//! running Linux.

mod glue;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use glue::{Current, End, Process, Thread, UserContext};
use seccomp_kernel::introspect::{Request, Status};
use seccomp_kernel::notify::Reply;
use seccomp_kernel::uapi::{self, FilterFlags};
use seccomp_kernel::{Mode, Thread as _};
use seccomp_tests::vectors::{self, Answer};
use starryos_adapter::{
    ACTIONS_LOGGED, ARCH, LogEntry, SeccompDecision, SeccompFilter, SeccompState, Sigsys, SockFilter,
    SockFprog, SyscallContext, seccomp_errno,
};
use syscalls::Errno;

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const USER_NOTIF: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;

const IP: usize = 0x40_1002;
const TSYNC: u32 = FilterFlags::TSYNC.bits();
const RETURNS: End = End::Returns { restarts: true };
const DENIED: End = End::Returns { restarts: false };
const CORE: End = End::Exits { signal: 31, group: true };

fn ret(value: u32) -> Vec<SockFilter> {
    vec![SockFilter::new(0x06, 0, 0, value)]
}

/// `value` for getppid, ALLOW for the rest.
fn on_getppid(value: u32) -> Vec<SockFilter> {
    let nr = nr("getppid") as u32;
    vec![
        SockFilter::new(0x20, 0, 0, 0),
        SockFilter::new(0x15, 0, 1, nr),
        SockFilter::new(0x06, 0, 0, value),
        SockFilter::new(0x06, 0, 0, ALLOW),
    ]
}

fn nr(name: &str) -> usize {
    ARCH.syscall_number(name).and_then(|nr| usize::try_from(nr).ok()).expect("a system call")
}

/// A call that no kernel is behind.
struct Bare {
    sysno: usize,
    ip: usize,
    args: [usize; 6],
}

impl SyscallContext for Bare {
    fn sysno(&self) -> usize {
        self.sysno
    }

    fn ip(&self) -> usize {
        self.ip
    }

    fn args(&self) -> [usize; 6] {
        self.args
    }

    fn audit(&self, _: LogEntry) {}
}

fn getppid() -> Bare {
    Bare { sysno: nr("getppid"), ip: IP, args: [0; 6] }
}

/// What a state with these filters, the oldest first, decides about getppid.
fn decision(values: &[u32]) -> SeccompDecision {
    let mut state = SeccompState::default();
    for value in values {
        assert_eq!(state.append_filter(ret(*value)), Ok(()));
    }
    state.evaluate(&getppid())
}

fn call(current: Current<'_>, sysno: usize, args: [usize; 6]) -> (End, isize) {
    let mut uctx = UserContext { rax: sysno, rip: IP, args };
    let end = current.handle_syscall(&mut uctx);
    (end, uctx.rax as isize)
}

fn returned(value: i32) -> (End, isize) {
    (RETURNS, value as isize)
}

fn refused(errno: Errno) -> (End, isize) {
    returned(-errno.into_raw())
}

fn prctl(current: Current<'_>, args: [usize; 5]) -> (End, isize) {
    let [option, arg2, arg3, arg4, arg5] = args;
    call(current, nr("prctl"), [option, arg2, arg3, arg4, arg5, 0])
}

/// A program in user memory, and its `sock_fprog`, laid out as the adapter's.
fn user_fprog(process: &Process, program: &[SockFilter]) -> usize {
    let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
    let filter = process.memory.add(&bytes);
    user_header(process, program.len() as u16, filter as usize)
}

fn user_header(process: &Process, len: u16, filter: usize) -> usize {
    let mut bytes = [0; size_of::<SockFprog>()];
    bytes[..2].copy_from_slice(&len.to_ne_bytes());
    bytes[std::mem::offset_of!(SockFprog, filter)..].copy_from_slice(&filter.to_ne_bytes());
    process.memory.add(&bytes) as usize
}

fn install(process: &Process, thread: &Thread, flags: u32, program: &[SockFilter]) -> Result<i32, Errno> {
    process.current(thread).sys_seccomp(1, flags, user_fprog(process, program))
}

/// A process whose leader has this filter, and its leader.
fn filtered(value: u32) -> (Process, Arc<Thread>) {
    let process = Process::new(true);
    let leader = process.leader();
    assert_eq!(install(&process, &leader, 0, &on_getppid(value)), Ok(0));
    (process, leader)
}

fn sigsys(errno: u16) -> Sigsys {
    Sigsys { errno, call_addr: IP as u64, syscall: nr("getppid") as i32, arch: ARCH.audit_arch() }
}

/// Each has to be refused, by Linux too.
#[track_caller]
fn refuse(programs: &[Vec<SockFilter>]) {
    for program in programs {
        assert_eq!(SeccompFilter::new(program.clone()).map(drop), Err(Errno::EINVAL), "{program:x?}");
        let mut state = SeccompState::default();
        assert_eq!(state.append_filter(program.clone()), Err(Errno::EINVAL), "{program:x?}");
        assert_eq!(state.thread_state().mode(), Mode::Disabled);
    }
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    if seccomp_tests::host::enabled() {
        let answers = seccomp_tests::host::offer_all(programs);
        assert!(answers.iter().all(|answer| *answer == Err(22)), "{answers:?} to {programs:x?}");
    }
}

/// An instruction before `ret ALLOW`.
fn before_allow(code: u16, k: u32) -> Vec<SockFilter> {
    vec![SockFilter::new(code, 0, 0, k), SockFilter::new(0x06, 0, 0, ALLOW)]
}

#[test]
fn s1_the_mode_of_prctl_is_not_an_operation_of_seccomp() {
    let process = Process::new(true);
    let leader = process.leader();
    let current = process.current(&leader);
    let empty = user_header(&process, 0, process.memory.add(&ret(ALLOW)[0].to_ne_bytes()) as usize);
    assert_eq!(prctl(current, [22, 2, empty, 0, 0]), refused(Errno::EINVAL));
    assert_eq!(leader.seccomp.thread_state().mode(), Mode::Disabled);
    assert_eq!(prctl(current, [22, 2, user_fprog(&process, &ret(ALLOW)), 0, 0]), returned(0));
    assert_eq!(leader.seccomp.thread_state().filter_count(), 1);
}

#[test]
fn s2_prctl_has_two_modes_and_ignores_the_last_arguments() {
    for mode in [0, 3, usize::MAX] {
        let process = Process::new(true);
        let leader = process.leader();
        assert_eq!(prctl(process.current(&leader), [22, mode, 0, 0, 0]), refused(Errno::EINVAL));
        assert_eq!(leader.seccomp.thread_state().mode(), Mode::Disabled);
    }
    let process = Process::new(false);
    let leader = process.leader();
    assert_eq!(prctl(process.current(&leader), [22, 1, 7, 8, 9]), returned(0));
    assert_eq!(leader.seccomp.thread_state().mode(), Mode::Strict);
}

#[test]
fn s3_errno_is_4095_at_most() {
    for (data, errno) in [(0, 0), (1, 1), (512, 512), (4095, 4095), (4096, 4095), (0xffff, 4095)] {
        assert_eq!(decision(&[ERRNO | data]), SeccompDecision::Errno(errno));
        assert_eq!(seccomp_errno(data as u16) as isize, -(errno as isize));
        let (process, leader) = filtered(ERRNO | data);
        let result = call(process.current(&leader), nr("getppid"), [0; 6]);
        assert_eq!(result, (DENIED, -(errno as isize)));
    }
}

#[test]
fn s4_trap_rolls_the_registers_back() {
    assert_eq!(decision(&[TRAP | 7]), SeccompDecision::Trap(sigsys(7)));
    let (process, leader) = filtered(TRAP | 7);
    let mut uctx = UserContext { rax: nr("getppid"), rip: IP, args: [1, 2, 3, 4, 5, 6] };
    let before = uctx;
    assert_eq!(process.current(&leader).handle_syscall(&mut uctx), End::Signal(sigsys(7)));
    assert_eq!(uctx, before);

    // After a stop for the tracer too, which had ENOSYS in the register of the number.
    let mut trap = on_getppid(TRAP | 8);
    trap[1].k = nr("getuid") as u32;
    let (process, leader) = filtered(TRACE);
    assert_eq!(install(&process, &leader, 0, &trap), Ok(0));
    *leader.tracer.lock().expect("no test panicked") = Some(|_, _, sysno| *sysno = nr("getuid"));
    let end = process.current(&leader).handle_syscall(&mut uctx);
    assert_eq!(end, End::Signal(Sigsys { syscall: nr("getuid") as i32, ..sigsys(8) }));
    assert_eq!(uctx, UserContext { rax: nr("getuid"), ..before });
}

#[test]
fn s4_a_filter_that_asks_where_nobody_is_returns_enosys() {
    for value in [TRACE | 7, USER_NOTIF | 7] {
        assert_eq!(decision(&[value]), SeccompDecision::Errno(38));
        let (process, leader) = filtered(value);
        assert_eq!(call(process.current(&leader), nr("getppid"), [0; 6]), (DENIED, -38));
    }
}

#[test]
fn s4_a_tracer_is_asked_and_filters_decide_again() {
    let (process, leader) = filtered(TRACE | 7);
    let current = process.current(&leader);
    let traced = |tracer| {
        *leader.tracer.lock().expect("no test panicked") = Some(tracer);
        call(current, nr("getppid"), [0; 6])
    };
    // It changes nothing: TRACE now allows.
    assert_eq!(traced(|message, uctx, _| assert_eq!((message, uctx.rax as isize), (7, -38))), returned(0));
    // It skips the call, with a result and without one.
    assert_eq!(
        traced(|_, uctx, sysno| {
            *sysno = usize::MAX;
            uctx.rax = 99;
        }),
        (DENIED, 99)
    );
    assert_eq!(traced(|_, _, sysno| *sysno = usize::MAX), (DENIED, -38));
    // It makes another call of it, which another filter denies.
    let mut deny = on_getppid(ERRNO | 5);
    deny[1].k = nr("getuid") as u32;
    assert_eq!(install(&process, &leader, 0, &deny), Ok(0));
    assert_eq!(traced(|_, _, sysno| *sysno = nr("getuid")), (DENIED, -5));
}

#[test]
fn s4_a_supervisor_is_asked() {
    let process = Process::new(true);
    let leader = process.leader();
    let flags = FilterFlags::NEW_LISTENER.bits();
    assert_eq!(install(&process, &leader, flags, &on_getppid(USER_NOTIF)), Ok(3));
    let current = process.current(&leader);
    assert_eq!(call(current, nr("getppid"), [0; 6]).0, End::Interrupted);
    for (answer, result) in [
        (Reply::Continue, returned(0)),
        (Reply::Return(-1), (DENIED, -1)),
        (Reply::Return(-4095), (DENIED, -4095)),
        (Reply::Return(-4096), (DENIED, -4096)),
        (Reply::Return(1 << 40), (DENIED, 1 << 40)),
    ] {
        process.supervise(answer);
        assert_eq!(call(current, nr("getppid"), [0; 6]), result);
    }
    // A kernel that does not ask has nobody answer.
    assert_eq!(leader.seccomp.evaluate(&getppid()), SeccompDecision::Errno(38));
}

#[test]
fn s5_ret_a_returns_a_not_k() {
    for (a, k, expected) in
        [(KILL_PROCESS, ALLOW, SeccompDecision::KillProcess), (ALLOW, KILL_THREAD, SeccompDecision::Allow)]
    {
        let mut state = SeccompState::default();
        let program = vec![SockFilter::new(0x00, 0, 0, a), SockFilter::new(0x16, 0, 0, k)];
        assert_eq!(state.append_filter(program), Ok(()));
        assert_eq!(state.evaluate(&getppid()), expected);
    }
}

#[test]
fn s6_to_s12_programs_that_linux_refuses_are_refused() {
    let s6 = vec![SockFilter::new(0x01, 0, 0, ALLOW), SockFilter::new(0x0e, 0, 0, 0)];
    let s7 = [(0x28, 0), (0x30, 0), (0x20, 2), (0x20, 64), (0x40, 0), (0xb1, 0)];
    let s8 = [0x0106, 0xff06, 0x62, 0x0f, 0x0d, 0x8c].map(|code| (code, 0));
    let s9 = [(0x94, 3), (0x34, 0)];
    let s10 = [(0x64, 33), (0x64, 32), (0x74, 40), (0x74, u32::MAX)];
    let s11 = [(0x05, 1), (0x05, u32::MAX)];
    let s12 = [(0x60, 0), (0x61, 15), (0x60, 16), (0x02, 16), (0x03, u32::MAX)];
    let mut programs: Vec<_> = [&s7[..], &s8, &s9, &s10, &s11, &s12]
        .concat()
        .into_iter()
        .map(|(code, k)| before_allow(code, k))
        .collect();
    programs.push(s6);
    programs.push(vec![SockFilter::new(0x06, 0, 0, ALLOW), SockFilter::new(0x00, 0, 0, 0)]);
    programs.push(vec![SockFilter::new(0x15, 1, 0, 0), SockFilter::new(0x06, 0, 0, ALLOW)]);
    refuse(&programs);
}

#[test]
fn programs_are_taken_and_refused_as_linux_did() {
    for vector in vectors::programs() {
        let linux = match vector.answer {
            Answer::Accepted(_) => Ok(()),
            Answer::Refused(errno) => Err(errno),
        };
        let ours = SeccompFilter::new(vector.program).map(drop).map_err(Errno::into_raw);
        assert_eq!(ours, linux, "{}", vector.name);
    }
}

/// The recorded decisions about calls of this machine's entry.
#[test]
fn calls_are_decided_as_linux_did() {
    let programs: HashMap<_, _> =
        vectors::programs().into_iter().map(|vector| (vector.name, vector)).collect();
    let mut states: HashMap<&str, SeccompState> = HashMap::new();
    let mut decided = 0;
    for row in vectors::decisions().iter().filter(|row| row.data.arch == ARCH.audit_arch()) {
        let state = states.entry(row.name).or_insert_with(|| {
            let mut state = SeccompState::default();
            assert_eq!(state.append_filter(programs[row.name].program.clone()), Ok(()), "{}", row.name);
            state
        });
        let uctx = Bare {
            sysno: row.data.nr as usize,
            ip: row.data.instruction_pointer as usize,
            args: row.data.args.map(|arg| arg as usize),
        };
        let expected = match (row.value >> 16, row.value as u16) {
            (0x7fff | 0x7ffc, _) => SeccompDecision::Allow,
            (5, errno) => SeccompDecision::Errno(errno.min(4095)),
            (0x7ff0 | 0x7fc0, _) => SeccompDecision::Errno(38),
            (3, errno) => SeccompDecision::Trap(Sigsys {
                errno,
                call_addr: row.data.instruction_pointer,
                syscall: row.data.nr,
                arch: row.data.arch,
            }),
            (0, _) => SeccompDecision::KillThread,
            _ => SeccompDecision::KillProcess,
        };
        // A thread that a filter has killed makes no other call, so a clone is asked.
        assert_eq!(state.clone().evaluate(&uctx), expected, "{} {:x?}", row.name, row.data);
        decided += 1;
    }
    if cfg!(target_arch = "x86_64") {
        assert!(decided > 10_000, "{decided}");
    }
}

#[test]
fn s13_strict_mode_kills_the_thread_without_a_core() {
    for name in ["exit_group", "getpid"] {
        let process = Process::new(false);
        let leader = process.leader();
        let current = process.current(&leader);
        assert_eq!(current.sys_seccomp(0, 0, 0), Ok(0));
        for name in ["read", "write", "exit", "rt_sigreturn"] {
            assert_eq!(call(current, nr(name), [0; 6]), returned(0));
        }
        let strict = End::Exits { signal: 9, group: false };
        assert_eq!(call(current, nr(name), [0; 6]).0, strict);
        // It should not have called again.
        assert_eq!(call(current, nr("read"), [0; 6]).0, strict);
    }
}

#[test]
fn s14_a_strict_thread_gets_no_filter() {
    let mut state = SeccompState::default();
    assert_eq!(state.install_strict(), Ok(()));
    assert_eq!(state.append_filter(ret(ALLOW)), Err(Errno::EINVAL));
    assert_eq!(state.evaluate(&getppid()), SeccompDecision::KillStrict);

    let mut state = SeccompState::default();
    assert_eq!(state.append_filter(ret(ALLOW)), Ok(()));
    assert_eq!(state.install_strict(), Err(Errno::EINVAL));
    assert_eq!(state.evaluate(&getppid()), SeccompDecision::Allow);

    let process = Process::new(true);
    let leader = process.leader();
    let sibling = process.clone_thread(&leader);
    assert_eq!(process.current(&leader).sys_seccomp(0, 0, 0), Ok(0));
    assert_eq!(install(&process, &sibling, TSYNC, &ret(ALLOW)), Ok(leader.tid));
    assert_eq!(leader.seccomp.thread_state().mode(), Mode::Strict);
    assert_eq!(sibling.seccomp.thread_state().mode(), Mode::Disabled);
}

#[test]
fn s15_tsync_takes_no_filter_away() {
    let process = Process::new(true);
    let leader = process.leader();
    let sibling = process.clone_thread(&leader);
    assert_eq!(install(&process, &sibling, 0, &on_getppid(ERRNO | 1)), Ok(0));
    assert_eq!(install(&process, &leader, TSYNC, &ret(ALLOW)), Ok(sibling.tid));
    let esrch = TSYNC | FilterFlags::TSYNC_ESRCH.bits();
    assert_eq!(install(&process, &leader, esrch, &ret(ALLOW)), Err(Errno::ESRCH));
    assert_eq!(leader.seccomp.thread_state().mode(), Mode::Disabled);
    assert_eq!(call(process.current(&sibling), nr("getppid"), [0; 6]), (DENIED, -1));
    // When the thread is gone, nobody diverges.
    process.exit(&sibling);
    assert_eq!(install(&process, &leader, TSYNC, &ret(ALLOW)), Ok(0));
}

#[test]
fn s15_tsync_gives_filters_and_no_new_privs_to_all() {
    let process = Process::new(false);
    let leader = process.leader();
    let sibling = process.clone_thread(&leader);
    assert_eq!(prctl(process.current(&leader), [38, 1, 0, 0, 0]), returned(0));
    assert_eq!(install(&process, &leader, TSYNC, &on_getppid(ERRNO | 1)), Ok(0));
    assert!(sibling.no_new_privs());
    assert_eq!(call(process.current(&sibling), nr("getppid"), [0; 6]), (DENIED, -1));
    // And what is born of it has them.
    let child = process.clone_thread(&sibling);
    assert!(child.no_new_privs());
    assert_eq!(call(process.current(&child), nr("getppid"), [0; 6]), (DENIED, -1));
}

#[test]
fn s16_unknown_numbers_are_filtered() {
    for sysno in [2000, usize::MAX, 0x4000_0000 | nr("getppid"), 1 << 31] {
        let process = Process::new(true);
        let leader = process.leader();
        let current = process.current(&leader);
        assert_eq!(call(current, sysno, [0; 6]), refused(Errno::ENOSYS));
        assert_eq!(install(&process, &leader, 0, &ret(KILL_PROCESS)), Ok(0));
        assert_eq!(call(current, sysno, [0; 6]).0, CORE, "{sysno:x}");
    }
    // 32 bits of the register count.
    let high = Bare { sysno: nr("getppid") | 1 << 40, ..getppid() };
    let mut state = SeccompState::default();
    assert_eq!(state.append_filter(on_getppid(ERRNO | 1)), Ok(()));
    assert_eq!(state.evaluate(&high), SeccompDecision::Errno(1));
}

#[test]
fn s17_unknown_actions_compete_by_value() {
    for values in [[ERRNO | 7, 0x0006_0000], [0x0006_0000, ERRNO | 7]] {
        assert_eq!(decision(&values), SeccompDecision::Errno(7));
    }
    assert_eq!(decision(&[KILL_THREAD, 0x0001_0000]), SeccompDecision::KillThread);
    assert_eq!(decision(&[ERRNO | 7, 0x0004_0009]), SeccompDecision::KillProcess);
}

#[test]
fn s18_a_path_has_an_end_and_is_shared() {
    let mut state = SeccompState::default();
    let accepted = (0..5000).take_while(|_| state.append_filter(ret(ALLOW)) == Ok(())).count();
    assert_eq!((accepted, state.append_filter(ret(ALLOW))), (3641, Err(Errno::ENOMEM)));
    let child = state.clone();
    let newest = |state: &SeccompState| state.thread_state().filter().map(std::ptr::from_ref);
    assert_eq!(newest(&child), newest(&state));
    assert_eq!(format!("{child:?}"), "SeccompState { mode: Filter, filters: 3641 }");
    // A child is its own thread: what it installs is not its parent's.
    let mut parent = SeccompState::default();
    assert_eq!(parent.append_filter(ret(ALLOW)), Ok(()));
    let mut child = parent.clone();
    assert_eq!(child.append_filter(ret(KILL_THREAD)), Ok(()));
    assert_eq!(child.evaluate(&getppid()), SeccompDecision::KillThread);
    assert_eq!(parent.evaluate(&getppid()), SeccompDecision::Allow);
}

#[test]
fn s18_a_long_path_is_dropped_on_a_small_stack() {
    let mut state = SeccompState::default();
    while state.append_filter(ret(ALLOW)) == Ok(()) {}
    let small = thread::Builder::new().stack_size(64 << 10).spawn(move || drop(state));
    small.expect("a thread").join().expect("it ends");
}

#[test]
fn s19_the_right_to_install_is_looked_at_after_the_length() {
    let process = Process::new(false);
    let leader = process.leader();
    let current = process.current(&leader);
    let install = |flags, fprog| current.sys_seccomp(1, flags, fprog);
    let bad = user_fprog(&process, &[SockFilter::new(0xffff, 0, 0, 0)]);
    assert_eq!(install(0x40, 0), Err(Errno::EINVAL));
    assert_eq!(install(0, 0), Err(Errno::EFAULT));
    assert_eq!(install(0, user_header(&process, 0, 0)), Err(Errno::EINVAL));
    assert_eq!(install(0, user_header(&process, 4097, 0)), Err(Errno::EINVAL));
    assert_eq!(install(0, user_header(&process, 1, 0)), Err(Errno::EACCES));
    assert_eq!(install(0, bad), Err(Errno::EACCES));
    assert_eq!(prctl(current, [38, 1, 0, 0, 0]), returned(0));
    assert_eq!(install(0, user_header(&process, 1, 0)), Err(Errno::EINVAL));
    assert_eq!(install(0, user_header(&process, 1, 8)), Err(Errno::EFAULT));
    assert_eq!(install(0, bad), Err(Errno::EINVAL));
    assert_eq!(install(0, user_fprog(&process, &ret(ALLOW))), Ok(0));
}

#[test]
fn s20_the_length_is_looked_at_before_the_program() {
    let process = Process::new(true);
    let leader = process.leader();
    for (len, errno) in
        [(0, Errno::EINVAL), (4097, Errno::EINVAL), (65535, Errno::EINVAL), (4096, Errno::EFAULT)]
    {
        let fprog = user_header(&process, len, 8);
        assert_eq!(process.current(&leader).sys_seccomp(1, 0, fprog), Err(errno), "{len}");
    }
    assert_eq!(SeccompFilter::new(Vec::new()).map(drop), Err(Errno::EINVAL));
    assert_eq!(SeccompFilter::new(ret(ALLOW).repeat(4097)).map(drop), Err(Errno::EINVAL));
    assert_eq!(SeccompFilter::new(ret(ALLOW).repeat(4096)).map(drop), Ok(()));
}

#[test]
fn s21_an_errno_is_not_an_interrupted_call() {
    for errno in [Errno::EINTR.into_raw(), 512, 513, 514, 516] {
        let (process, leader) = filtered(ERRNO | errno as u32);
        let current = process.current(&leader);
        assert_eq!(call(current, nr("getppid"), [0; 6]), (DENIED, -(errno as isize)));
    }
}

#[test]
fn s22_what_can_be_asked_is_answered() {
    let process = Process::new(true);
    let leader = process.leader();
    let current = process.current(&leader);
    for value in [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW] {
        let ask = |value: u32| current.sys_seccomp(2, 0, process.memory.add(&value.to_ne_bytes()) as usize);
        assert_eq!((ask(value), ask(value | 1)), (Ok(0), Err(Errno::EOPNOTSUPP)));
    }
    let sizes = process.memory.add(&[0; 6]);
    assert_eq!(current.sys_seccomp(3, 0, sizes as usize), Ok(0));
    let mut read = [0; 6];
    process.memory.read(sizes, &mut read).expect("it is mapped");
    assert_eq!(read, [80, 0, 24, 0, 64, 0]);
    assert_eq!(prctl(current, [21, 0, 0, 0, 0]), returned(0));
    assert_eq!(install(&process, &leader, FilterFlags::NEW_LISTENER.bits(), &ret(ALLOW)), Ok(3));
    assert_eq!(prctl(current, [21, 0, 0, 0, 0]), returned(2));
}

#[test]
fn s23_the_winner_is_logged() {
    let record = |code, signal| LogEntry {
        signal,
        code,
        nr: nr("getppid") as i32,
        arch: ARCH.audit_arch(),
        instruction_pointer: IP as u64,
    };
    let log = FilterFlags::LOG.bits();
    for (filters, logged) in [
        (&[(ERRNO | 1, 0)][..], None),
        (&[(ERRNO | 1, log)], Some(record(ERRNO, 0))),
        (&[(TRACE | 1, log)], Some(record(TRACE, 0))),
        (&[(TRACE | 1, log), (ERRNO | 1, 0)], None),
        (&[(ERRNO | 1, log), (ERRNO | 2, 0)], None),
        (&[(LOG | 5, 0)], Some(record(LOG, 0))),
        (&[(ALLOW, log)], None),
        (&[(KILL_THREAD | 1, 0)], Some(record(KILL_THREAD, 31))),
        (&[(KILL_PROCESS | 1, 0)], Some(record(KILL_PROCESS, 31))),
    ] {
        let process = Process::new(true);
        let leader = process.leader();
        for (value, flags) in filters {
            assert_eq!(install(&process, &leader, *flags, &on_getppid(*value)), Ok(0));
        }
        call(process.current(&leader), nr("getppid"), [0; 6]);
        assert_eq!(process.audited(), Vec::from_iter(logged), "{filters:x?}");
    }
}

/// What is logged is the kernel's to say, so of all tests here at once: no other one logs TRAP.
#[test]
fn s23_the_administrator_has_a_say_in_the_log() {
    struct Audited(std::cell::Cell<Option<LogEntry>>);
    impl SyscallContext for Audited {
        fn sysno(&self) -> usize {
            nr("getppid")
        }
        fn ip(&self) -> usize {
            IP
        }
        fn args(&self) -> [usize; 6] {
            [0; 6]
        }
        fn audit(&self, record: LogEntry) {
            self.0.set(Some(record));
        }
    }
    let (process, leader) = filtered(ERRNO | 1);
    let flags = FilterFlags::LOG.bits();
    assert_eq!(install(&process, &leader, flags, &on_getppid(TRAP)), Ok(0));
    let logs = || {
        let evaluated = Audited(None.into());
        let _ = leader.seccomp.evaluate(&evaluated);
        call(process.current(&leader), nr("getppid"), [0; 6]);
        (evaluated.0.get().is_some(), !process.audited().is_empty())
    };
    assert_eq!(logs(), (true, true));
    let all = ACTIONS_LOGGED.mask().to_string();
    let write = |text: &str| ACTIONS_LOGGED.write(true, 0, text.as_bytes()).outcome.map(drop);
    assert_eq!(write(&all.replace("trap ", "")), Ok(()));
    assert_eq!(logs(), (false, false));
    assert_eq!(write(&all), Ok(()));
}

#[test]
fn s23_a_process_is_told_what_it_has() {
    let (process, leader) = filtered(ERRNO | 1);
    assert_eq!(Status::of(&*leader).to_string(), "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n");
    let tracer = Process::new(true);
    let debugger = tracer.leader();
    let target = leader.seccomp.thread_state();
    let asked = Request::GetFilter { index: 0, program: 0 }.serve(&tracer.current(&debugger), true, target);
    assert_eq!(asked, Ok(4));
    assert_eq!(call(process.current(&leader), nr("getppid"), [0; 6]), (DENIED, -1));
}

#[test]
fn s23_the_last_thread_leaves_a_core() {
    for value in [KILL_THREAD, KILL_PROCESS] {
        let (process, leader) = filtered(value);
        assert_eq!(call(process.current(&leader), nr("getppid"), [0; 6]).0, CORE);
        assert_eq!(leader.seccomp.thread_state().mode(), Mode::Dead);
    }
    let (process, leader) = filtered(KILL_THREAD);
    let sibling = process.clone_thread(&leader);
    let alone = End::Exits { signal: 31, group: false };
    assert_eq!(call(process.current(&leader), nr("getppid"), [0; 6]).0, alone);
    // Its death is not its sibling's.
    assert_eq!(call(process.current(&sibling), nr("getpid"), [0; 6]), returned(0));
}

#[test]
fn sock_fprog_is_what_programs_pass() {
    assert_eq!(size_of::<SockFprog>(), uapi::SockFprog::NATIVE_SIZE);
    assert_eq!(std::mem::offset_of!(SockFprog, filter), 8);
}
