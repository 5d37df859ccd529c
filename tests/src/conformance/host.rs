//! Cases on the kernel of this machine, each in a forked child with threads of its own.
//!
//! The child is a copy of a process with many threads, so it takes no lock and allocates nothing: all that it
//! needs is made before the fork. Once a filter is installed it makes no call that a case does not ask for,
//! since the filter may not like it: threads take turns by spinning on [`Shared::turn`], results go to shared
//! memory, and that a thread is gone shows by the word that the kernel clears (`CLONE_CHILD_CLEARTID`). So
//! cases may have filters and strict threads of any kind; only `fork`, `thread`, `status` and `sigsys` need
//! the calls that they are made of (`fork` and `wait4`; `clone`; `openat`, `read` and `close`;
//! `rt_sigaction` and `rt_sigprocmask`), and handlers `rt_sigreturn`.

#![expect(unsafe_code, reason = "system calls of the kind that the tests are about, in forked children")]

use std::arch::asm;
use std::ffi::{CString, c_int, c_void};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::{env, fs, hint, io, mem, process, slice};

use libc::siginfo_t;
use seccomp_kernel::uapi::SYS_SECCOMP;
use seccomp_kernel::{Arch, Sigsys};
use syscalls::x86_64::Sysno;

use super::plan::{MEMORY, Plan, block};
use super::row::{Action, Call, Letter, Row, Step, THREADS, parse};
use super::transcript::{Outcome, Run, Transcript};
use crate::mock::{Disposition, End};

/// The most steps that a case can have.
const STEPS: usize = 32;

/// Bytes of a thread's stack.
const STACK: usize = 1 << 16;

/// Room for `/proc/PID/status`.
const STATUS: usize = 4096;

const PAGE: usize = 4096;

/// A case hangs if it takes longer.
const SECONDS: u32 = 20;

/// What the threads of a case share with each other, with child processes, and with us. All zero at first.
#[repr(C)]
struct Shared {
    /// The index of the step that is to be made.
    turn: AtomicUsize,
    /// A thread came to the end of the steps.
    done: AtomicU32,
    /// The ids of threads, by letter.
    tids: [AtomicI32; THREADS],
    cells: [Cell; STEPS],
}

/// What came of a step.
#[repr(C)]
struct Cell {
    begun: AtomicU32,
    returned: AtomicU32,
    zeros: AtomicU32,
    value: AtomicI64,
    /// Where a call was made.
    instruction_pointer: AtomicU64,
    /// A SIGSYS that was handled.
    trapped: AtomicU32,
    errno: AtomicI32,
    call_addr: AtomicU64,
    syscall: AtomicI32,
    arch: AtomicU32,
    status: [AtomicU8; STATUS],
}

/// The machine's kernel.
#[derive(Debug)]
pub struct Host {
    /// Where children run, and perhaps leave cores.
    directory: PathBuf,
    dumps_core: bool,
}

impl Host {
    /// Makes a directory for children to run in, and finds out whether processes that are killed here leave
    /// cores.
    ///
    /// # Panics
    ///
    /// There is no room for one, or this process is not one in which cases can begin.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("seccomp-conformance-{}-{number}", process::id()));
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut host = Self { directory, dumps_core: true };
        let probe =
            |steps: &str| host.run(&parse(&format!("probe | {steps}")).expect("a row")[0]).to_string();
        let privileged = probe("status; seccomp 1 0 ret(ALLOW); status");
        assert_eq!(
            privileged,
            "A: NoNewPrivs 0, Seccomp 0, Seccomp_filters 0; A: 0; A: NoNewPrivs 0, Seccomp 2, Seccomp_filters 1",
            "cases begin without filters and with CAP_SYS_ADMIN; SECCOMP_TESTS_NO_HOST=1 turns them off"
        );
        host.dumps_core =
            probe("seccomp 1 0 on(getppid, KILL_PROCESS); getppid").ends_with("killed by 31 with a core");
        host
    }

    /// Whether a process that is killed leaves a core.
    pub fn dumps_core(&self) -> bool {
        self.dumps_core
    }

    /// Runs a case.
    ///
    /// # Panics
    ///
    /// It has too many steps, or there are no resources for a child.
    pub fn run(&self, row: &Row) -> Transcript {
        let memory = Mapping::new(MEMORY + PAGE, libc::MAP_SHARED | libc::MAP_32BIT);
        memory.unmap_last_page();
        let plan = Plan::new(row, memory.address());
        assert!(plan.steps.len() <= STEPS, "{} has {} steps", row.name, plan.steps.len());
        memory.write(&plan.memory);
        let shared = Mapping::new(size_of::<Shared>(), libc::MAP_SHARED);
        let stacks = Mapping::new(THREADS * STACK, libc::MAP_PRIVATE);
        let child = Child {
            steps: &plan.steps,
            shared: shared.shared(),
            stacks: stacks.base.as_ptr(),
            living: [const { AtomicI32::new(0) }; THREADS],
            directory: CString::new(self.directory.as_os_str().as_bytes()).expect("a path has no NUL"),
        };
        let end = child.run_in_fork();
        let outcome =
            |(at, cell): (usize, &Cell)| cell.outcome(&plan.steps[at], || memory.read(&plan.shown[at]));
        let run = Run {
            outcomes: child.shared.cells.iter().enumerate().take(plan.steps.len()).map(outcome).collect(),
            tids: child.shared.tids.iter().map(|tid| tid.load(Ordering::Acquire)).collect(),
            end: (child.shared.done.load(Ordering::Acquire) == 0).then_some(end),
        };
        Transcript::new(&plan.steps, &run, self.dumps_core)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A directory that stays does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A case in the making.
struct Child<'p> {
    steps: &'p [Step<u64>],
    shared: &'p Shared,
    /// [`STACK`] bytes for each thread.
    stacks: *mut u8,
    /// A word for each thread, 0 unless it lives; the kernel clears it.
    living: [AtomicI32; THREADS],
    directory: CString,
}

/// The child that this process is.
static CHILD: AtomicPtr<Child<'static>> = AtomicPtr::new(ptr::null_mut());

fn this_child() -> &'static Child<'static> {
    // SAFETY: set by `run_in_fork` in a process that never leaves that function, before it makes threads and
    // handlers, and they are all that asks.
    unsafe { &*CHILD.load(Ordering::Acquire) }
}

impl Child<'_> {
    /// Makes the steps in a forked child and waits for its end.
    fn run_in_fork(&self) -> End {
        // SAFETY: the child neither takes locks nor allocates, and never leaves this arm.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", io::Error::last_os_error()),
            0 => {
                CHILD.store(ptr::from_ref(self).cast_mut().cast(), Ordering::Release);
                self.begin();
                self.take_turns(Letter::A.index());
                self.shared.done.store(1, Ordering::Release);
                leave()
            }
            child => {
                let mut status = 0;
                // SAFETY: the status is ours to be written.
                while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
                    let error = io::Error::last_os_error();
                    assert_eq!(error.kind(), io::ErrorKind::Interrupted, "waitpid: {error}");
                }
                end(status)
            }
        }
    }

    fn begin(&self) {
        // SAFETY: a path that ends with a NUL. If it fails, a core is left elsewhere.
        unsafe { libc::chdir(self.directory.as_ptr()) };
        // The least that counts as a core.
        let core = libc::rlimit { rlim_cur: PAGE as u64, rlim_max: PAGE as u64 };
        // SAFETY: the limit is read.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const core) };
        // SAFETY: it concerns this process alone.
        unsafe { libc::alarm(SECONDS) };
        // Those of the Rust runtime make calls.
        set_action(libc::SIGSEGV, libc::SIG_DFL);
        set_action(libc::SIGBUS, libc::SIG_DFL);
        set_action(libc::SIGTRAP, on_breakpoint as *const () as usize);
        let word = &self.living[Letter::A.index()];
        // SAFETY: the kernel clears the word when the thread ends; it is there as long as the process.
        let tid = unsafe { libc::syscall(libc::SYS_set_tid_address, word.as_ptr()) } as i32;
        word.store(tid, Ordering::Release);
        self.shared.tids[Letter::A.index()].store(tid, Ordering::Release);
    }

    /// Makes one thread's steps, and passes the turn on for threads that are gone.
    fn take_turns(&self, me: usize) {
        let turn = &self.shared.turn;
        loop {
            let at = turn.load(Ordering::Acquire);
            if at >= self.steps.len() {
                return;
            }
            let owner = self.steps[at].thread.index();
            if owner == me {
                self.make(at);
                turn.store(block(self.steps, at).end, Ordering::Release);
            } else if self.living[owner].load(Ordering::Acquire) == 0 {
                // If it took the process with it, we are told within this time.
                (0..1 << 16).for_each(|_| hint::spin_loop());
                let next = block(self.steps, at).end;
                let _ = turn.compare_exchange(at, next, Ordering::AcqRel, Ordering::Relaxed);
            } else {
                hint::spin_loop();
            }
        }
    }

    fn make(&self, at: usize) {
        let (step, cell) = (&self.steps[at], &self.shared.cells[at]);
        cell.begun.store(1, Ordering::Release);
        let value = match &step.action {
            Action::Call(call) => {
                // SAFETY: the cases' calls change nothing but this process, and neither memory nor registers
                // beyond what the plan gives them.
                unsafe { make_call(call, cell) }
            }
            Action::Status(letter) => self.read_status(*letter, step.thread, cell),
            Action::Sigsys(disposition) => dispose(*disposition),
            Action::Thread(letter) => self.start(letter.index()),
            Action::Fork(_) => self.fork(at, cell),
            Action::Breakpoint => {
                // SAFETY: its handler returns.
                unsafe { asm!("int3") };
                0
            }
            Action::ReadTime => {
                // SAFETY: it reads a register, or the process dies of it.
                unsafe { std::arch::x86_64::_rdtsc() };
                0
            }
        };
        cell.value.store(value, Ordering::Release);
        cell.returned.store(1, Ordering::Release);
    }

    fn start(&self, index: usize) -> i64 {
        let word = self.living[index].as_ptr();
        let top = self.stacks.wrapping_add((index + 1) * STACK).cast::<c_void>();
        let letter = ptr::without_provenance_mut::<c_void>(index);
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID;
        let none = ptr::null_mut::<c_void>();
        // SAFETY: the stack is this thread's alone and the word outlives it. It shares our thread-local
        // storage, which nobody uses while threads take turns.
        let tid = unsafe { libc::clone(thread_main, top, flags, letter, word, none, word) };
        self.shared.tids[index].store(tid, Ordering::Release);
        tid.min(0).into()
    }

    fn fork(&self, at: usize, cell: &Cell) -> i64 {
        let steps = block(self.steps, at);
        // SAFETY: the child makes its steps and leaves.
        match unsafe { native(Sysno::fork.id(), [0; 6]) }.0 {
            0 => {
                // The turn never gets to the end: that is for the parent to say.
                let mut next = steps.start;
                while next < steps.end {
                    self.shared.turn.store(next, Ordering::Release);
                    self.make(next);
                    next = block(self.steps, next).end;
                }
                cell.zeros.store(1, Ordering::Release);
                leave()
            }
            child @ 1.. => {
                let status = AtomicI32::new(0);
                let status_at = status.as_ptr().expose_provenance() as u64;
                // SAFETY: the kernel writes the status, which is ours.
                let waited = unsafe { native(Sysno::wait4.id(), [child as u64, status_at, 0, 0, 0, 0]) }.0;
                if waited == child { status.into_inner().into() } else { waited }
            }
            error => error,
        }
    }

    fn read_status(&self, of: Letter, by: Letter, cell: &Cell) -> i64 {
        let mut path = [0; 64];
        if of != by && self.living[of.index()].load(Ordering::Acquire) == 0 {
            // It may still be seen for a while.
            return (-libc::ESRCH).into();
        }
        if of == by {
            path[..25].copy_from_slice(b"/proc/thread-self/status\0");
        } else {
            let mut tid = self.shared.tids[of.index()].load(Ordering::Acquire);
            let mut digits = [b'0'; 10];
            for digit in digits.iter_mut().rev() {
                *digit += (tid % 10) as u8;
                tid /= 10;
            }
            let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(0);
            let parts = [&b"/proc/self/task/"[..], &digits[start..], b"/status\0"];
            let bytes = parts.into_iter().flatten();
            path.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
        }
        let path = path.as_ptr().expose_provenance() as u64;
        // SAFETY: the kernel reads the path.
        let file = unsafe { native(Sysno::openat.id(), [libc::AT_FDCWD as u64, path, 0, 0, 0, 0]) }.0;
        if file < 0 {
            return file;
        }
        let text = cell.status.as_ptr().expose_provenance() as u64;
        // SAFETY: the kernel writes to atomics, which can be anything.
        let read = unsafe { native(Sysno::read.id(), [file as u64, text, STATUS as u64, 0, 0, 0]) }.0;
        // SAFETY: the file is ours.
        unsafe { native(Sysno::close.id(), [file as u64, 0, 0, 0, 0, 0]) };
        read
    }
}

extern "C" fn thread_main(letter: *mut c_void) -> c_int {
    let child = this_child();
    child.take_turns(letter.addr());
    child.shared.done.store(1, Ordering::Release);
    leave()
}

extern "C" fn on_breakpoint(_: c_int, _: *mut siginfo_t, _: *mut c_void) {}

extern "C" fn on_sigsys(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    /// `siginfo` of a SIGSYS, which the C library does not lay out.
    #[repr(C)]
    struct SigsysInfo {
        signo: c_int,
        errno: c_int,
        code: c_int,
        call_addr: u64,
        syscall: c_int,
        arch: u32,
    }
    let shared = this_child().shared;
    let Some(cell) = shared.cells.get(shared.turn.load(Ordering::Acquire)) else { return };
    // SAFETY: the kernel made it, and for this signal it is this structure.
    let info = unsafe { &*info.cast::<SigsysInfo>() };
    let trapped = info.signo == libc::SIGSYS && info.code == SYS_SECCOMP;
    cell.errno.store(info.errno, Ordering::Relaxed);
    cell.call_addr.store(info.call_addr, Ordering::Relaxed);
    cell.syscall.store(info.syscall, Ordering::Relaxed);
    cell.arch.store(info.arch, Ordering::Relaxed);
    cell.trapped.store(trapped.into(), Ordering::Release);
}

/// # Safety
///
/// The call leaves the memory and the registers of this program alone, but for what it is given.
unsafe fn make_call(call: &Call<u64>, cell: &Cell) -> i64 {
    let mut zeros = 0;
    loop {
        let (value, instruction_pointer) = if call.entry == Arch::I386 {
            // SAFETY: the caller's promise.
            unsafe { compat(call.nr, call.args) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { native(call.nr, call.args) }
        };
        cell.instruction_pointer.store(instruction_pointer, Ordering::Relaxed);
        if value != 0 || zeros + 1 >= call.times {
            cell.zeros.store(zeros, Ordering::Relaxed);
            return value;
        }
        zeros += 1;
    }
}

/// A call by `syscall`: its value, and the address that a filter sees.
///
/// # Safety
///
/// As [`make_call`].
unsafe fn native(nr: i32, args: [u64; 6]) -> (i64, u64) {
    let [mut value, ip]: [u64; 2];
    value = i64::from(nr).cast_unsigned();
    // SAFETY: the caller's promise; `syscall` itself changes RCX and R11.
    unsafe {
        asm!(
            "lea {ip}, [rip + 2f]",
            "syscall",
            "2:",
            ip = out(reg) ip,
            inlateout("rax") value,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    (value.cast_signed(), ip)
}

/// A call by `int $0x80`, with five arguments: its value, and the address that a filter sees.
///
/// # Safety
///
/// As [`make_call`].
unsafe fn compat(nr: i32, args: [u64; 6]) -> (i64, u64) {
    let [mut value, ip]: [u64; 2];
    value = u64::from(nr.cast_unsigned());
    // SAFETY: the caller's promise; old kernels clear R8 to R11. RBX, which LLVM keeps for itself, is put
    // back.
    unsafe {
        asm!(
            "lea {ip}, [rip + 2f]",
            "xchg rbx, {first}",
            "int 0x80",
            "2:",
            "xchg rbx, {first}",
            ip = out(reg) ip,
            first = inout(reg) args[0] => _,
            inlateout("rax") value,
            in("rcx") args[1],
            in("rdx") args[2],
            in("rsi") args[3],
            in("rdi") args[4],
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    (i64::from(value as i32), ip)
}

/// Ends a child whatever its filter says.
fn leave() -> ! {
    // SAFETY: the call ends the process; where a filter does not let it, the undefined instruction does.
    unsafe {
        asm!("syscall", "ud2", in("eax") Sysno::exit_group.id(), in("edi") 0, options(noreturn));
    }
}

fn dispose(disposition: Disposition) -> i64 {
    let (handler, how) = match disposition {
        Disposition::Default => (libc::SIG_DFL, libc::SIG_UNBLOCK),
        Disposition::Ignored => (libc::SIG_IGN, libc::SIG_UNBLOCK),
        Disposition::Handled => (on_sigsys as *const () as usize, libc::SIG_UNBLOCK),
        Disposition::Blocked => (on_sigsys as *const () as usize, libc::SIG_BLOCK),
    };
    let set = 1u64 << (libc::SIGSYS - 1);
    let set_at = (&raw const set).expose_provenance() as u64;
    // SAFETY: the kernel reads a mask of this size.
    unsafe { native(Sysno::rt_sigprocmask.id(), [how as u64, set_at, 0, size_of_val(&set) as u64, 0, 0]) };
    set_action(libc::SIGSYS, handler)
}

fn set_action(signal: c_int, handler: libc::sighandler_t) -> i64 {
    // SAFETY: a structure of numbers, for which 0 is a value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handlers here have this signature and do no harm wherever they interrupt.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }.into()
}

fn end(status: c_int) -> End {
    let status = ExitStatus::from_raw(status);
    match status.signal() {
        Some(signal) => End::Killed { signal, core: status.core_dumped() },
        None => End::Exited(status.code().expect("a process that ended has a status or a signal")),
    }
}

impl Cell {
    fn outcome(&self, step: &Step<u64>, shown: impl FnOnce() -> Vec<u8>) -> Outcome {
        if self.begun.load(Ordering::Acquire) == 0 {
            return Outcome::Unreached;
        }
        if self.returned.load(Ordering::Acquire) == 0 {
            return Outcome::Gone;
        }
        let value = self.value.load(Ordering::Acquire);
        let zeros = self.zeros.load(Ordering::Acquire);
        match step.action {
            Action::Status(_) if value > 0 => Outcome::Status(self.status()),
            Action::Fork(_) if value >= 0 => Outcome::Child((zeros == 0).then(|| end(value as c_int))),
            _ => Outcome::Returned { zeros, value, sigsys: self.sigsys(), shown: shown() },
        }
    }

    fn sigsys(&self) -> Option<Sigsys> {
        let made_at = self.instruction_pointer.load(Ordering::Acquire);
        (self.trapped.load(Ordering::Acquire) != 0).then(|| Sigsys {
            errno: self.errno.load(Ordering::Relaxed) as u16,
            call_addr: self.call_addr.load(Ordering::Relaxed).wrapping_sub(made_at),
            syscall: self.syscall.load(Ordering::Relaxed),
            arch: self.arch.load(Ordering::Relaxed),
        })
    }

    /// The lines that are about seccomp.
    fn status(&self) -> String {
        let bytes: Vec<u8> = self.status.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter_map(|line| line.split_once(":\t"));
        let wanted = lines.filter(|(key, _)| matches!(*key, "NoNewPrivs" | "Seccomp" | "Seccomp_filters"));
        wanted.map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
    }
}

/// Memory of its own pages.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize, flags: c_int) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = flags | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, where the kernel has room.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        Self { base: NonNull::new(base.cast()).expect("nothing is mapped at 0"), len }
    }

    fn address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    /// Whoever touches it faults. It stays reserved, so that nothing else comes there.
    fn unmap_last_page(&self) {
        let page = self.base.as_ptr().wrapping_add(self.len - PAGE);
        // SAFETY: the page is this mapping's, and nobody has a reference to it.
        let answer = unsafe { libc::mprotect(page.cast(), PAGE, libc::PROT_NONE) };
        assert_eq!(answer, 0, "mprotect: {}", io::Error::last_os_error());
    }

    fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() <= MEMORY, "more than is there");
        // SAFETY: this much is mapped before the last page, and no child that could write it is there yet.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr(), bytes.len()) };
    }

    fn read(&self, range: &Range<usize>) -> Vec<u8> {
        assert!(range.end <= MEMORY, "more than is there");
        let from = self.base.as_ptr().wrapping_add(range.start);
        // SAFETY: this much is mapped before the last page, and the children that could write it have ended.
        unsafe { slice::from_raw_parts(from, range.len()) }.to_vec()
    }

    fn shared(&self) -> &Shared {
        assert!(self.len >= size_of::<Shared>(), "less than it takes");
        // SAFETY: the mapping is large enough, page-aligned, and zero at first, which is a value of every
        // atomic. All that anybody does with it is atomic.
        unsafe { self.base.cast().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no borrow of it is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
