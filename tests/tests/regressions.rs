//! Mistakes that other implementations made, each with its number: S of StarryOS, D of DragonOS, G of gVisor.
//!
//! What Linux does is what the rows of `conformance` compare with; a test here keeps one mistake from coming
//! back, and says which, also where no kernel can be asked. Mistakes about what is not there yet have none:
//! listeners for user notification (part of S4, S22 and D3), `PTRACE_SECCOMP_GET_FILTER` (part of S23 and
//! G9).

use std::thread;

use cbpf_translator::SockFilter;
use cbpf_translator::asm::assemble;
use seccomp_kernel::uapi::{FilterFlags, PR_GET_SECCOMP, PR_SET_SECCOMP};
use seccomp_kernel::{
    Action, Arch, Decision, LogEntry, LogMask, Mode, Pass, Sigsys, Thread as _, ThreadState, Verdict,
    evaluate, syscall,
};
use seccomp_runtime::{EngineError, EngineKind, ExecMemoryError, SeccompData};
use seccomp_tests::mock::{
    self, Disposition, End, Engine, Faults, INSTRUCTION_POINTER, Process, Reply, SOME_PID, Thread,
};
use syscalls::Errno;
use syscalls::x86_64::Sysno;

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const USER_NOTIF: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;

const CORE: Option<End> = Some(End::Killed { signal: 31, core: true });

/// A process on each engine.
fn processes() -> impl Iterator<Item = Process> {
    Engine::all().map(|engine| Process::new(engine, Faults::default()))
}

fn process() -> Process {
    Process::new(EngineKind::DEFAULT, Faults::default())
}

fn asm(text: &str) -> Vec<SockFilter> {
    let names = |name: &str| Arch::X86_64.syscall_number(name).map(i32::cast_unsigned);
    assemble(text, &names).unwrap_or_else(|error| panic!("{error}"))
}

fn ret(value: u32) -> Vec<SockFilter> {
    vec![SockFilter::new(0x06, 0, 0, value)]
}

/// `value` for getppid, ALLOW for the rest.
fn on_getppid(value: u32) -> Vec<SockFilter> {
    asm(&format!("ld [0] jne #getppid, allow ret #{value} allow: ret #{ALLOW}"))
}

/// An instruction before `ret ALLOW`.
fn before_allow(code: u16, k: u32) -> Vec<SockFilter> {
    vec![SockFilter::new(code, 0, 0, k), SockFilter::new(0x06, 0, 0, ALLOW)]
}

#[track_caller]
fn install(process: &Process, program: &[SockFilter]) {
    assert_eq!(process.install(&process.leader(), 0, program), Ok(0));
}

#[track_caller]
fn refuse(program: &[SockFilter]) {
    let process = process();
    let leader = process.leader();
    assert_eq!(process.install(&leader, 0, program), Err(Errno::EINVAL), "{program:?}");
    assert_eq!((leader.seccomp().mode(), leader.seccomp().filter_count()), (Mode::Disabled, 0));
}

fn call(process: &Process, thread: &Thread, nr: Sysno) -> Reply {
    process.enter(thread, Arch::X86_64, nr.id(), [0; 6])
}

fn getppid(process: &Process) -> Reply {
    call(process, &process.leader(), Sysno::getppid)
}

fn prctl(process: &Process, args: [u64; 6]) -> Reply {
    process.enter(&process.leader(), Arch::X86_64, Sysno::prctl.id(), args)
}

fn set_mode(process: &Process, mode: u64, fprog: u64) -> Reply {
    prctl(process, [PR_SET_SECCOMP.into(), mode, fprog, 0, 0, 0])
}

/// The address of a `sock_fprog`.
fn fprog(process: &Process, len: u16, filter: u64) -> u64 {
    process.memory().add(&mock::fprog(Arch::X86_64, len, filter))
}

fn refusal(errno: Errno) -> Reply {
    Reply::Returned(-i64::from(errno.into_raw()))
}

fn data(nr: i32) -> SeccompData {
    SeccompData {
        nr,
        arch: Arch::X86_64.audit_arch(),
        instruction_pointer: INSTRUCTION_POINTER,
        ..SeccompData::default()
    }
}

fn decide(state: &ThreadState, nr: i32, pass: Pass) -> Decision {
    evaluate(state, &data(nr), pass, LogMask::default(), None)
}

/// What the leader is told about getppid when its filters say `values`, the oldest first.
fn verdict(process: &Process, values: &[u32]) -> Verdict {
    for value in values {
        install(process, &on_getppid(*value));
    }
    decide(process.leader().seccomp(), Sysno::getppid.id(), Pass::Entry).verdict
}

fn sigsys(errno: u16) -> Sigsys {
    Sigsys {
        errno,
        call_addr: INSTRUCTION_POINTER,
        syscall: Sysno::getppid.id(),
        arch: Arch::X86_64.audit_arch(),
    }
}

/// A process and a second thread of it, with filters that only they have.
fn diverged(leader: &[u32], sibling: &[u32]) -> (Process, std::sync::Arc<Thread>) {
    let process = process();
    let thread = process.spawn(&process.leader());
    for value in leader {
        install(&process, &ret(*value));
    }
    for value in sibling {
        assert_eq!(process.install(&thread, 0, &ret(*value)), Ok(0));
    }
    (process, thread)
}

const TSYNC: u32 = FilterFlags::TSYNC.bits();

#[test]
fn s1_the_mode_of_prctl_is_not_an_operation_of_seccomp() {
    let process = process();
    let filter = process.memory().add(&ret(ALLOW)[0].to_ne_bytes());
    assert_eq!(set_mode(&process, 2, fprog(&process, 0, filter)), refusal(Errno::EINVAL));
    assert_eq!(process.leader().seccomp().mode(), Mode::Disabled);
    assert_eq!(set_mode(&process, 2, fprog(&process, 1, filter)), Reply::Returned(0));
    assert_eq!(process.leader().seccomp().filter_count(), 1);
}

#[test]
fn s2_prctl_has_two_modes_and_ignores_the_last_arguments() {
    for mode in [0, 3, u64::MAX, 1 << 32 | 1] {
        let process = process();
        assert_eq!(set_mode(&process, mode, 0), refusal(Errno::EINVAL));
        assert_eq!(process.leader().seccomp().mode(), Mode::Disabled);
    }
    let process = process();
    assert_eq!(prctl(&process, [PR_SET_SECCOMP.into(), 1, 7, 8, 9, 10]), Reply::Returned(0));
    assert_eq!(process.leader().seccomp().mode(), Mode::Strict);
}

#[test]
fn s3_g4_errno_is_4095_at_most() {
    for (data, value) in [(0, 0), (1, -1), (4095, -4095), (4096, -4095), (0xffff, -4095)] {
        for process in processes() {
            assert_eq!(verdict(&process, &[ERRNO | data]), Verdict::Return(value));
        }
    }
}

#[test]
fn s4_g2_actions_that_ask_somebody_do_not_kill() {
    for process in processes() {
        assert_eq!(verdict(&process, &[TRAP | 7]), Verdict::Trap(sigsys(7)));
    }
    for process in processes() {
        assert_eq!(verdict(&process, &[TRACE | 7]), Verdict::Trace { message: 7 });
        assert_eq!(getppid(&process), refusal(Errno::ENOSYS));
    }
    for process in processes() {
        assert_eq!(verdict(&process, &[USER_NOTIF | 7]), Verdict::Return(-38));
    }
}

#[test]
fn s5_ret_a_returns_a_not_k() {
    for (a, k) in [(KILL_PROCESS, ALLOW), (ALLOW, KILL_THREAD)] {
        for process in processes() {
            let program = [SockFilter::new(0x00, 0, 0, a), SockFilter::new(0x16, 0, 0, k)];
            install(&process, &program);
            let allowed = getppid(&process) == Reply::Returned(SOME_PID);
            assert_eq!(allowed, a == ALLOW);
        }
    }
}

#[test]
fn s6_ret_x_is_refused() {
    refuse(&[SockFilter::new(0x01, 0, 0, ALLOW), SockFilter::new(0x0e, 0, 0, 0)]);
}

#[test]
fn s7_g5_loads_are_of_words_in_seccomp_data() {
    for (code, k) in [(0x28, 0), (0x30, 0), (0x20, 2), (0x20, 64), (0x40, 0), (0xb1, 0)] {
        refuse(&before_allow(code, k));
    }
}

#[test]
fn s8_opcodes_are_compared_whole() {
    for code in [0x0106, 0xff06, 0x62, 0x0f, 0x0d, 0x8c] {
        refuse(&before_allow(code, 0));
        refuse(&[SockFilter::new(code, 0, 0, ALLOW)]);
    }
}

#[test]
fn s9_g5_there_is_no_modulus_and_no_division_by_0() {
    for (code, k) in [(0x94, 3), (0x9c, 0), (0x34, 0)] {
        refuse(&before_allow(code, k));
    }
}

#[test]
fn s10_g5_shifts_are_below_32() {
    for (code, k) in [(0x64, 33), (0x64, 32), (0x74, 40), (0x74, u32::MAX)] {
        refuse(&before_allow(code, k));
    }
}

#[test]
fn s11_programs_end_inside() {
    for k in [1, 2, u32::MAX] {
        refuse(&before_allow(0x05, k));
    }
    refuse(&[SockFilter::new(0x06, 0, 0, ALLOW), SockFilter::new(0x00, 0, 0, 0)]);
    refuse(&[SockFilter::new(0x15, 1, 0, 0), SockFilter::new(0x06, 0, 0, ALLOW)]);
}

#[test]
fn s12_g5_scratch_slots_exist_and_are_written_first() {
    for (code, k) in [(0x60, 0), (0x61, 15), (0x60, 16), (0x02, 16), (0x03, u32::MAX)] {
        refuse(&before_allow(code, k));
    }
    refuse(&asm("ld [0] jeq #0, write, read write: st M[0] read: ld M[0] ret a"));
}

#[test]
fn s13_strict_mode_kills_the_thread_without_a_core() {
    for nr in [Sysno::exit_group, Sysno::getpid] {
        let process = process();
        let thread = process.spawn(&process.leader());
        assert_eq!(set_mode(&process, 1, 0), Reply::Returned(0));
        assert_eq!(call(&process, &process.leader(), nr), Reply::Gone);
        assert_eq!(
            (process.end(), call(&process, &thread, Sysno::getpid)),
            (None, Reply::Returned(SOME_PID))
        );
        assert_eq!(call(&process, &thread, Sysno::exit), Reply::Gone);
        assert_eq!(process.end(), Some(End::Exited(0)));
    }
    let process = process();
    assert_eq!(set_mode(&process, 1, 0), Reply::Returned(0));
    assert_eq!(getppid(&process), Reply::Gone);
    assert_eq!(process.end(), Some(End::Killed { signal: 9, core: false }));
}

#[test]
fn s14_a_strict_thread_gets_no_filter() {
    let (process, sibling) = diverged(&[], &[]);
    assert_eq!(set_mode(&process, 1, 0), Reply::Returned(0));
    let leader = process.leader();
    assert_eq!(process.install(&leader, 0, &ret(ALLOW)), Err(Errno::EINVAL));
    assert_eq!(process.install(&sibling, TSYNC, &ret(ALLOW)), Ok(leader.tid()));
    assert_eq!((leader.seccomp().mode(), leader.seccomp().filter_count()), (Mode::Strict, 0));
    assert_eq!(sibling.seccomp().mode(), Mode::Disabled);
}

#[test]
fn s15_g7_tsync_takes_no_filter_away() {
    for leader in [&[][..], &[ALLOW]] {
        let (process, sibling) = diverged(leader, &[LOG]);
        assert_eq!(process.install(&process.leader(), TSYNC, &ret(ALLOW)), Ok(sibling.tid()));
        let esrch = TSYNC | FilterFlags::TSYNC_ESRCH.bits();
        assert_eq!(process.install(&process.leader(), esrch, &ret(ALLOW)), Err(Errno::ESRCH));
        assert_eq!(process.leader().seccomp().filter_count() as usize, leader.len());
        assert_eq!(sibling.seccomp().filter_count(), 1);
    }
}

#[test]
fn s15_tsync_gives_no_new_privs() {
    let (process, sibling) = diverged(&[], &[]);
    assert_eq!(prctl(&process, [38, 1, 0, 0, 0, 0]), Reply::Returned(0));
    assert_eq!(process.install(&process.leader(), TSYNC, &ret(ALLOW)), Ok(0));
    assert!(sibling.no_new_privs());
}

#[test]
fn s16_unknown_numbers_are_filtered() {
    for nr in [-1, 2000, 0x4000_0000 | 39, i32::MIN] {
        for process in processes() {
            install(&process, &ret(KILL_PROCESS));
            assert_eq!(process.enter(&process.leader(), Arch::X86_64, nr, [0; 6]), Reply::Gone);
            assert_eq!(process.end(), CORE);
        }
    }
}

#[test]
fn s17_unknown_actions_compete_by_value() {
    for values in [[ERRNO | 7, 0x0006_0000], [0x0006_0000, ERRNO | 7]] {
        assert_eq!(verdict(&process(), &values), Verdict::Return(-7));
    }
    assert_eq!(verdict(&process(), &[KILL_THREAD, 0x0001_0000]), Verdict::KillThread(sigsys(0)));
    assert_eq!(verdict(&process(), &[ERRNO | 7, 0x0004_0009]), Verdict::KillProcess(sigsys(9)));
}

#[test]
fn s18_d5_a_path_has_an_end() {
    let process = process();
    let leader = process.leader();
    let accepted = (0..5000).take_while(|_| process.install(&leader, 0, &ret(ALLOW)) == Ok(0)).count();
    assert_eq!((accepted, leader.seccomp().filter_count()), (3641, 3641));
    assert_eq!(process.install(&leader, 0, &ret(ALLOW)), Err(Errno::ENOMEM));
}

#[test]
fn d5_a_long_path_is_dropped_on_a_small_stack() {
    let process = process();
    let leader = process.leader();
    while process.install(&leader, 0, &ret(ALLOW)) == Ok(0) {}
    let state = leader.seccomp().inherit();
    drop((process, leader));
    assert_eq!(state.filter_count(), 3641);
    let small = thread::Builder::new().stack_size(64 << 10).spawn(move || drop(state));
    small.expect("a thread").join().expect("it ends");
}

/// Gives up CAP_SYS_ADMIN.
fn drop_privileges(process: &Process) {
    assert_eq!(call(process, &process.leader(), Sysno::capset), Reply::Returned(0));
}

fn seccomp(process: &Process, flags: u64, uargs: u64) -> Reply {
    process.enter(&process.leader(), Arch::X86_64, Sysno::seccomp.id(), [1, flags, uargs, 0, 0, 0])
}

#[test]
fn s19_d1_g9_the_right_to_install_is_looked_at_after_the_length() {
    let process = process();
    drop_privileges(&process);
    let bad_program = process.memory().add(&SockFilter::new(0xffff, 0, 0, 0).to_ne_bytes());
    assert_eq!(seccomp(&process, 0x40, 0), refusal(Errno::EINVAL));
    assert_eq!(seccomp(&process, 0, 0), refusal(Errno::EFAULT));
    assert_eq!(seccomp(&process, 0, fprog(&process, 0, 0)), refusal(Errno::EINVAL));
    assert_eq!(seccomp(&process, 0, fprog(&process, 4097, 0)), refusal(Errno::EINVAL));
    assert_eq!(seccomp(&process, 0, fprog(&process, 1, 0)), refusal(Errno::EACCES));
    assert_eq!(seccomp(&process, 0, fprog(&process, 1, bad_program)), refusal(Errno::EACCES));
    assert_eq!(prctl(&process, [38, 1, 0, 0, 0, 0]), Reply::Returned(0));
    assert_eq!(seccomp(&process, 0, fprog(&process, 1, 0)), refusal(Errno::EINVAL));
    assert_eq!(seccomp(&process, 0, fprog(&process, 1, 8)), refusal(Errno::EFAULT));
    assert_eq!(seccomp(&process, 0, fprog(&process, 1, bad_program)), refusal(Errno::EINVAL));
}

#[test]
fn s20_the_length_is_looked_at_before_the_program() {
    let process = process();
    for len in [0, 4097, 65535] {
        assert_eq!(seccomp(&process, 0, fprog(&process, len, 8)), refusal(Errno::EINVAL));
    }
    assert_eq!(seccomp(&process, 0, fprog(&process, 4096, 8)), refusal(Errno::EFAULT));
}

#[test]
fn s21_an_errno_is_not_an_interrupted_call() {
    for errno in [Errno::EINTR.into_raw(), 512, 513, 514, 516] {
        let value = ERRNO | errno.cast_unsigned();
        assert_eq!(verdict(&process(), &[value]), Verdict::Return((-errno).into()));
    }
}

#[test]
fn s22_d9_what_can_be_asked_is_answered() {
    let process = process();
    let leader = process.leader();
    let ask = |op, uargs| syscall::seccomp(&process.caller(&leader), Arch::X86_64, op, 0, uargs);
    for value in [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW] {
        assert_eq!(ask(2, process.memory().add(&value.to_ne_bytes())), Ok(0), "{:?}", Action::of(value));
        let with_data = process.memory().add(&(value | 1).to_ne_bytes());
        assert_eq!(ask(2, with_data), Err(Errno::EOPNOTSUPP));
    }
    let sizes = process.memory().add(&[0; 6]);
    assert_eq!(ask(3, sizes), Ok(0));
    let mut read = [0; 6];
    process.memory().read(sizes, &mut read).expect("it is mapped");
    assert_eq!(read, [80, 0, 24, 0, 64, 0]);
    assert_eq!(prctl(&process, [PR_GET_SECCOMP.into(), 0, 0, 0, 0, 0]), Reply::Returned(0));
    install(&process, &ret(ALLOW));
    assert_eq!(prctl(&process, [PR_GET_SECCOMP.into(), 0, 0, 0, 0, 0]), Reply::Returned(2));
    assert_eq!(leader.status(), "NoNewPrivs 0, Seccomp 2, Seccomp_filters 1");
}

#[test]
fn s23_d7_the_winner_is_logged() {
    let record = |code, signal| LogEntry {
        signal,
        code,
        nr: Sysno::getppid.id(),
        arch: Arch::X86_64.audit_arch(),
        instruction_pointer: INSTRUCTION_POINTER,
    };
    let log = FilterFlags::LOG.bits();
    for (filters, logged) in [
        (&[(ERRNO | 1, 0)][..], None),
        (&[(ERRNO | 1, log)], Some(record(ERRNO, 0))),
        // The older filter asked, and lost.
        (&[(TRACE | 1, log), (ERRNO | 1, 0)], None),
        (&[(ERRNO | 1, log), (ERRNO | 2, 0)], None),
        (&[(ERRNO | 1, 0), (ERRNO | 2, log)], Some(record(ERRNO, 0))),
        (&[(LOG | 5, 0)], Some(record(LOG, 0))),
        (&[(ALLOW, log)], None),
        (&[(KILL_PROCESS | 1, 0)], Some(record(KILL_PROCESS, 31))),
    ] {
        let process = process();
        for (value, flags) in filters {
            assert_eq!(process.install(&process.leader(), *flags, &on_getppid(*value)), Ok(0));
        }
        getppid(&process);
        assert_eq!(process.log(), Vec::from_iter(logged), "{filters:x?}");
    }
}

#[test]
fn d7_the_administrator_has_a_say_in_the_log() {
    let process = process();
    install(&process, &ret(LOG));
    let silent =
        evaluate(process.leader().seccomp(), &data(110), Pass::Entry, LogMask::all() - LogMask::LOG, None);
    assert_eq!((silent.verdict, silent.log), (Verdict::Proceed, None));
}

#[test]
fn d2_the_caller_may_be_ahead_and_not_behind() {
    let (process, sibling) = diverged(&[ALLOW], &[]);
    assert_eq!(process.install(&process.leader(), TSYNC, &ret(LOG)), Ok(0));
    assert_eq!(sibling.seccomp().filter_count(), 2);

    let (process, sibling) = diverged(&[], &[ALLOW]);
    assert_eq!(process.install(&process.leader(), TSYNC, &ret(LOG)), Ok(sibling.tid()));
    assert_eq!(sibling.seccomp().filter_count(), 1);
    assert_eq!(process.install(&sibling, TSYNC, &ret(LOG)), Ok(0));
    assert_eq!(process.leader().seccomp().filter_count(), 2);
}

#[test]
fn d3_g9_flags_that_linux_has_are_accepted() {
    for flags in [FilterFlags::LOG, FilterFlags::SPEC_ALLOW, FilterFlags::TSYNC_ESRCH] {
        let process = process();
        assert_eq!(process.install(&process.leader(), flags.bits(), &ret(ALLOW)), Ok(0));
    }
}

#[test]
fn d4_filter_mode_comes_with_a_filter() {
    let faults = Faults { fatal_signal: true, ..Faults::default() };
    let process = Process::new(EngineKind::DEFAULT, faults);
    let leader = process.leader();
    assert_eq!(process.install(&leader, TSYNC, &ret(ALLOW)), Err(Errno::EINVAL));
    assert_eq!(process.install(&leader, 0, &[]), Err(Errno::EINVAL));
    assert_eq!((leader.seccomp().mode(), leader.seccomp().filter_count()), (Mode::Disabled, 0));
    assert_eq!(process.install(&leader, 0, &ret(ALLOW)), Ok(0));
    assert_eq!((leader.seccomp().mode(), leader.seccomp().filter_count()), (Mode::Filter, 1));
}

#[test]
fn d6_the_last_thread_leaves_a_core() {
    for value in [KILL_THREAD, KILL_PROCESS] {
        let process = process();
        install(&process, &on_getppid(value));
        assert_eq!((getppid(&process), process.end()), (Reply::Gone, CORE));
    }
}

#[test]
fn d9_arm64_has_a_number() {
    assert_eq!(Arch::Aarch64.audit_arch(), 0xc000_00b7);
}

#[test]
fn g1_kill_process_is_not_kill_thread() {
    for value in [KILL_PROCESS, 0x8005_0007] {
        for process in processes() {
            let thread = process.spawn(&process.leader());
            assert_eq!(process.install(&thread, 0, &on_getppid(value)), Ok(0));
            assert_eq!((call(&process, &thread, Sysno::getppid), process.end()), (Reply::Gone, CORE));
        }
    }
    let process = process();
    let thread = process.spawn(&process.leader());
    assert_eq!(process.install(&thread, 0, &on_getppid(KILL_THREAD)), Ok(0));
    assert_eq!((call(&process, &thread, Sysno::getppid), process.end()), (Reply::Gone, None));
}

#[test]
fn g2_log_lets_through_and_unknown_actions_kill_the_process() {
    assert_eq!(verdict(&process(), &[LOG]), Verdict::Proceed);
    assert_eq!(verdict(&process(), &[0x0001_0005]), Verdict::KillProcess(sigsys(5)));
}

#[test]
fn g3_what_a_tracer_made_of_a_call_is_filtered_again() {
    let process = process();
    install(
        &process,
        &asm("ld [0] jeq #getppid, trace jeq #getuid, deny ret #0x7fff0000 \
                            trace: ret #0x7ff00000 deny: ret #0x50001"),
    );
    let leader = process.leader();
    let after = |nr: Sysno| decide(leader.seccomp(), nr.id(), Pass::AfterTracer).verdict;
    assert_eq!(
        decide(leader.seccomp(), Sysno::getppid.id(), Pass::Entry).verdict,
        Verdict::Trace { message: 0 }
    );
    assert_eq!(after(Sysno::getppid), Verdict::Proceed);
    assert_eq!(after(Sysno::getuid), Verdict::Return(-1));
}

#[test]
fn g6_shifts_by_x_take_five_bits() {
    for (text, expected) in
        [("ldx #33 ld #3 lsh x", 6), ("ldx #33 ld #12 rsh x", 6), ("ldx #64 ld #5 lsh x", 5)]
    {
        for process in processes() {
            install(&process, &asm(&format!("{text} or #{ERRNO} ret a")));
            let told = decide(process.leader().seccomp(), 0, Pass::Entry).verdict;
            assert_eq!(told, Verdict::Return(-expected), "{text}");
        }
    }
}

#[test]
fn g8_a_trap_that_nobody_takes_kills() {
    for disposition in [Disposition::Default, Disposition::Ignored, Disposition::Blocked] {
        let process = process();
        process.set_disposition(&process.leader(), disposition);
        install(&process, &on_getppid(TRAP));
        assert_eq!((getppid(&process), process.end()), (Reply::Gone, CORE));
    }
    let process = process();
    process.set_disposition(&process.leader(), Disposition::Handled);
    install(&process, &on_getppid(TRAP | 3));
    assert_eq!(getppid(&process), Reply::Trapped(sigsys(3), Sysno::getppid.id().into()));
}

#[test]
fn a_filter_without_executable_memory_runs_all_the_same() {
    let faults = Faults { no_exec_memory: true, ..Faults::default() };
    let process = Process::new(EngineKind::Jit, faults);
    install(&process, &on_getppid(ERRNO | 7));
    assert_eq!(getppid(&process), Reply::Returned(-7));
    let leader = process.leader();
    let program = leader.seccomp().filter().expect("a filter").program();
    assert_eq!(program.engine(), EngineKind::Native);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(program.fell_back(), Some(EngineError::ExecMemory(ExecMemoryError::Forbidden)));
    }
}
