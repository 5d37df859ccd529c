//! A case on the kernel of this machine: a forked child makes the call, and this thread is its tracer.
//!
//! The child takes on its filters, then spins until it is told to go on, so that the call is the first that its
//! tracer sees. It neither allocates nor locks, and tells what came of the call through shared memory. Its listener
//! is taken from it before, and served by a thread of its own.

#![expect(unsafe_code, reason = "system calls of the kind that the tests are about, in forked children")]

use std::arch::asm;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::{hint, io, mem, thread};

use libc::{c_int, c_long, c_void, pid_t, siginfo_t, sock_fprog};
use seccomp_kernel::notify::{Reply, SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND, SeccompNotif};
use seccomp_runtime::SeccompData;

use super::row::{By, Change, Row, Sets, Supervisor, Tracer};
use super::{Asked, End, Made, Registers, Told};

/// A case hangs if it takes longer.
const SECONDS: u32 = 20;

const PTRACE_EVENT_SECCOMP: c_int = 7;
const PTRACE_GET_SYSCALL_INFO: c_long = 0x420e;
const PTRACE_SET_SYSCALL_INFO: c_long = 0x4212;

/// A stop at a call's entry or exit, with PTRACE_O_TRACESYSGOOD.
const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;

/// How far the child has come. It goes on from a listener and from readiness when it is told to.
const LISTENING: u32 = 1;
const TAKEN: u32 = 2;
const READY: u32 = 3;
const GO: u32 = 4;
const DONE: u32 = 5;
const FAILED: u32 = 6;

/// What the child shares with us. All zero at first.
#[repr(C)]
struct Shared {
    state: AtomicU32,
    /// The child's descriptor of its listener.
    listener: AtomicI32,
    instruction_pointer: AtomicU64,
    value: AtomicI64,
    /// A SIGSYS that was handled.
    trapped: AtomicU32,
    errno: AtomicI32,
    syscall: AtomicI32,
    arch: AtomicU32,
    call_addr: AtomicU64,
    returned: AtomicI64,
}

/// Of the child that this process is.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// The kernel has no PTRACE_SET_SYSCALL_INFO, which is of Linux 6.16.
struct TooOld;

/// Runs a case; what is logged is not told. `None` if the kernel is too old for it.
///
/// # Panics
///
/// The child cannot be made, or not be traced.
pub fn run(row: &Row) -> Option<(Made, Told)> {
    let child = Child::new(row);
    let mut asked = Vec::new();
    if row.tracer != Tracer::None {
        child.seize(row);
    }
    let (status, notified) = thread::scope(|scope| {
        let supervisor =
            child.listener.as_ref().map(|listener| scope.spawn(|| child.supervise(row, listener)));
        child.shared().state.store(GO, Ordering::Release);
        let status = child.trace(row, &mut asked);
        if status.is_err() {
            child.end_it();
        }
        (status, supervisor.and_then(|supervisor| supervisor.join().expect("a supervisor ends")))
    });
    let status = status.ok()?;
    let made = Made {
        pid: child.pid,
        instruction_pointer: child.shared().instruction_pointer.load(Ordering::Acquire),
    };
    Some((made, Told { asked, notified, end: child.end(status), logged: None }))
}

struct Child {
    pid: pid_t,
    shared: NonNull<Shared>,
    ended: AtomicU32,
    listener: Option<OwnedFd>,
}

// SAFETY: what it points to is atomics.
unsafe impl Sync for Child {}

impl Child {
    /// Forks it, and waits until it is ready to make the call.
    fn new(row: &Row) -> Self {
        let programs: Vec<_> = row.filters.iter().map(|filter| (filter.flags(), filter.program())).collect();
        let programs: Vec<_> = programs
            .iter()
            .map(|(flags, program)| {
                let len = program.len().try_into().expect("a length of 16 bits");
                (flags.bits(), sock_fprog { len, filter: program.as_ptr().cast_mut().cast() })
            })
            .collect();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let sharing = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, where the kernel has room.
        let shared = unsafe { libc::mmap(ptr::null_mut(), size_of::<Shared>(), protection, sharing, -1, 0) };
        assert_ne!(shared, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        let shared = NonNull::new(shared.cast::<Shared>()).expect("nothing is mapped at 0");
        // SAFETY: the child calls the kernel and stores into the mapping; it neither allocates nor panics, and
        // never leaves.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            SHARED.store(shared.as_ptr(), Ordering::Release);
            // SAFETY: the mapping is shared, zeroed, aligned, and lives as long as this process.
            make(row, &programs, unsafe { shared.as_ref() });
        }
        assert!(pid > 0, "fork: {}", io::Error::last_os_error());
        let mut child = Self { pid, shared, ended: AtomicU32::new(0), listener: None };
        let mut state = child.state_after(0);
        if state == LISTENING {
            child.listener = Some(child.take_listener()).filter(|_| row.supervisor != Supervisor::Closed);
            child.shared().state.store(TAKEN, Ordering::Release);
            state = child.state_after(TAKEN);
        }
        assert_eq!(state, READY, "{}: the child has no filters", row.name);
        child
    }

    /// The child's state when it is not `state` any more.
    fn state_after(&self, state: u32) -> u32 {
        loop {
            match self.shared().state.load(Ordering::Acquire) {
                same if same == state => thread::yield_now(),
                other => return other,
            }
        }
    }

    fn take_listener(&self) -> OwnedFd {
        // SAFETY: a new descriptor.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        assert!(pidfd >= 0, "pidfd_open: {}", io::Error::last_os_error());
        // SAFETY: nobody else has it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as c_int) };
        let theirs = self.shared().listener.load(Ordering::Acquire);
        // SAFETY: a new descriptor.
        let listener = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), theirs, 0) };
        assert!(listener >= 0, "pidfd_getfd: {}", io::Error::last_os_error());
        // SAFETY: nobody else has it.
        unsafe { OwnedFd::from_raw_fd(listener as c_int) }
    }

    /// Serves one request, if one comes before the child's end. What it is about.
    fn supervise(&self, row: &Row, listener: &OwnedFd) -> Option<SeccompData> {
        let listener = listener.as_raw_fd();
        let mut poll = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which lives.
        let polled = unsafe { libc::poll(&raw mut poll, 1, -1) };
        assert_eq!(polled, 1, "poll: {}", io::Error::last_os_error());
        if poll.revents & libc::POLLIN == 0 {
            return None;
        }
        // SAFETY: a structure of numbers, for which 0 is a value.
        let mut notif: SeccompNotif = unsafe { mem::zeroed() };
        // SAFETY: the kernel writes a structure of this layout.
        let received = unsafe { libc::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV.into(), &raw mut notif) };
        assert_eq!(received, 0, "RECV: {}", io::Error::last_os_error());
        match row.supervisor {
            Supervisor::Answers(reply) => {
                // `struct seccomp_notif_resp`: its last word is an error, which is below 0, and flags.
                let (value, error, flags) = match reply {
                    Reply::Continue => (0, 0, 1),
                    Reply::Return(value) if value < 0 => (0, value as u32, 0),
                    Reply::Return(value) => (value, 0, 0),
                };
                let response = [notif.id, value.cast_unsigned(), u64::from(error) | flags << 32];
                // SAFETY: the kernel reads a structure of this layout.
                let sent =
                    unsafe { libc::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND.into(), response.as_ptr()) };
                assert_eq!(sent, 0, "SEND: {}", io::Error::last_os_error());
            }
            Supervisor::Signals => {
                // SAFETY: it is our child, and waits for an answer.
                unsafe { libc::kill(self.pid, libc::SIGUSR1) };
            }
            Supervisor::Closed => unreachable!("there is no listener"),
        }
        Some(notif.data)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the mapping is this value's until it is dropped, and holds atomics only, for which 0 is a value.
        unsafe { self.shared.as_ref() }
    }

    /// Becomes its tracer and lets it go on to the call.
    fn seize(&self, row: &Row) {
        let seccomp = if row.tracer == Tracer::Seccomp { libc::PTRACE_O_TRACESECCOMP } else { 0 };
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD | seccomp;
        self.request(libc::PTRACE_SEIZE.into(), 0, options as u64).expect("it is our child");
        self.request(libc::PTRACE_INTERRUPT.into(), 0, 0).expect("it is traced");
        let status = self.wait();
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        let go_on = if row.entry.is_some() { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
        self.request(go_on.into(), 0, 0).expect("it is stopped");
    }

    /// Does what the row says, until the child's end. The child's status.
    fn trace(&self, row: &Row, asked: &mut Vec<Asked>) -> Result<c_int, TooOld> {
        loop {
            let status = self.wait();
            if !libc::WIFSTOPPED(status) {
                self.ended.store(1, Ordering::Relaxed);
                return Ok(status);
            }
            let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
            if event == PTRACE_EVENT_SECCOMP {
                let mut message: u64 = 0;
                let at = (&raw mut message).expose_provenance() as u64;
                self.request(libc::PTRACE_GETEVENTMSG.into(), 0, at).expect("it is stopped");
                asked.push(Asked { message, registers: self.registers().1 });
                self.change(&row.asked)?;
            } else if signal == SYSCALL_STOP {
                self.change(row.entry.as_ref().expect("such stops are asked for"))?;
            } else {
                let deliver = if event == 0 { signal } else { 0 };
                self.go_on(deliver);
            }
        }
    }

    fn change(&self, change: &Change) -> Result<(), TooOld> {
        match change {
            Change::Nothing => self.go_on(0),
            Change::Kill => {
                // SAFETY: it is our child, and lives.
                unsafe { libc::kill(self.pid, libc::SIGKILL) };
            }
            Change::Detach => {
                self.request(libc::PTRACE_DETACH.into(), 0, 0).expect("it is stopped");
            }
            Change::Set(By::Registers, sets) => {
                let (mut all, mut registers) = self.registers();
                sets.apply(&mut registers);
                all.orig_rax = registers.nr.cast_unsigned();
                all.rdi = registers.args[0];
                all.rax = registers.returned.cast_unsigned();
                let at = (&raw const all).expose_provenance() as u64;
                self.request(libc::PTRACE_SETREGS.into(), 0, at).expect("it is stopped");
                self.go_on(0);
            }
            Change::Set(By::SyscallInfo, sets) => {
                self.set_syscall_info(*sets)?;
                self.go_on(0);
            }
        }
        Ok(())
    }

    fn set_syscall_info(&self, sets: Sets) -> Result<(), TooOld> {
        const NR: usize = 3;
        const ARGUMENT: usize = 4;
        // `struct ptrace_syscall_info`, the form of a stop before a call.
        let mut info = [0_u64; 11];
        let size = size_of_val(&info) as u64;
        let at = info.as_mut_ptr().expose_provenance() as u64;
        self.request(PTRACE_GET_SYSCALL_INFO, size, at).expect("it is stopped");
        let mut registers = self.registers().1;
        sets.apply(&mut registers);
        info[NR] = registers.nr.cast_unsigned();
        info[ARGUMENT] = registers.args[0];
        let at = info.as_ptr().expose_provenance() as u64;
        match self.request(PTRACE_SET_SYSCALL_INFO, size, at) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Err(TooOld),
            Err(error) => panic!("PTRACE_SET_SYSCALL_INFO: {error}"),
        }
    }

    fn go_on(&self, signal: c_int) {
        self.request(libc::PTRACE_CONT.into(), 0, signal as u64).expect("it is stopped");
    }

    fn registers(&self) -> (libc::user_regs_struct, Registers) {
        // SAFETY: a structure of numbers, for which 0 is a value.
        let mut all: libc::user_regs_struct = unsafe { mem::zeroed() };
        let at = (&raw mut all).expose_provenance() as u64;
        self.request(libc::PTRACE_GETREGS.into(), 0, at).expect("it is stopped");
        let registers = Registers {
            nr: all.orig_rax.cast_signed(),
            args: [all.rdi, all.rsi, all.rdx, all.r10, all.r8, all.r9],
            returned: all.rax.cast_signed(),
        };
        (all, registers)
    }

    fn request(&self, request: c_long, addr: u64, data: u64) -> io::Result<c_long> {
        // SAFETY: the requests that are made here write, if anything, to memory of the caller that lives and has
        // the size of what is written.
        match unsafe { libc::syscall(libc::SYS_ptrace, request, self.pid, addr, data) } {
            -1 => Err(io::Error::last_os_error()),
            value => Ok(value),
        }
    }

    fn wait(&self) -> c_int {
        let mut status = 0;
        // SAFETY: the status is ours to be written.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
        assert_eq!(waited, self.pid, "waitpid: {}", io::Error::last_os_error());
        status
    }

    /// Kills it, unless it has ended.
    fn end_it(&self) {
        if self.ended.swap(1, Ordering::Relaxed) == 0 {
            // SAFETY: it is our child, and nobody has waited for its end.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            // SAFETY: a status is not asked for.
            unsafe { libc::waitpid(self.pid, ptr::null_mut(), libc::__WALL) };
        }
    }

    fn end(&self, status: c_int) -> End {
        let shared = self.shared();
        if libc::WIFSIGNALED(status) {
            return End::Killed(libc::WTERMSIG(status));
        }
        assert_eq!(shared.state.load(Ordering::Acquire), DONE, "it ended without its call: {status:#x}");
        if shared.trapped.load(Ordering::Acquire) == 0 {
            return End::Returned(shared.value.load(Ordering::Acquire));
        }
        End::Trapped {
            errno: shared.errno.load(Ordering::Acquire),
            syscall: shared.syscall.load(Ordering::Acquire),
            arch: shared.arch.load(Ordering::Acquire),
            call_addr: shared.call_addr.load(Ordering::Acquire),
            returned: shared.returned.load(Ordering::Acquire),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end_it();
        // SAFETY: the mapping is this value's, and no borrow of it is left.
        unsafe { libc::munmap(self.shared.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// The child: takes on the filters, makes the call when it may, and ends.
fn make(row: &Row, programs: &[(u32, sock_fprog)], shared: &Shared) -> ! {
    // SAFETY: a structure of numbers, for which 0 is a value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_sigsys as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler has this signature, and stores into the mapping only.
    unsafe { libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) };
    let steps = [
        (libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0]),
        (libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 0, 0]),
        (libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0]),
        (libc::SYS_alarm, [SECONDS.into(), 0, 0]),
    ];
    action.sa_sigaction = on_sigusr1 as *const () as usize;
    // SAFETY: the handler does nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
    let install = programs.iter().map(|(flags, program)| {
        let program = ptr::from_ref(program).expose_provenance() as u64;
        (libc::SYS_seccomp, [libc::SECCOMP_SET_MODE_FILTER.into(), (*flags).into(), program])
    });
    let ready = steps.into_iter().chain(install).all(|(nr, [a, b, c])| {
        // SAFETY: they change this process alone, and read what lives.
        let value = unsafe { libc::syscall(nr, a, b, c, 0, 0) };
        if value > 0 {
            shared.listener.store(value as c_int, Ordering::Release);
            shared.state.store(LISTENING, Ordering::Release);
            while shared.state.load(Ordering::Acquire) != TAKEN {
                hint::spin_loop();
            }
            // SAFETY: nobody here uses it.
            unsafe { libc::close(value as c_int) };
        }
        value >= 0
    });
    shared.state.store(if ready { READY } else { FAILED }, Ordering::Release);
    while ready && shared.state.load(Ordering::Acquire) != GO {
        hint::spin_loop();
    }
    let [a, b, c, d, e, f] = row.args;
    let value: i64;
    // SAFETY: the cell is written as what it is; the call has no effect, whatever a tracer makes of it. What
    // follows ends the process without its parent's exit handlers.
    unsafe {
        asm!(
            "lea rcx, [rip + 2f]", "mov [{cell}], rcx", "syscall", "2:",
            cell = in(reg) shared.instruction_pointer.as_ptr(), inlateout("rax") i64::from(row.nr) => value,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            out("rcx") _, out("r11") _,
        );
    }
    shared.value.store(value, Ordering::Relaxed);
    shared.state.store(DONE, Ordering::Release);
    // SAFETY: the call ends the process, and no filter is about it.
    unsafe {
        asm!("syscall", "ud2", in("rax") libc::SYS_exit_group, in("rdi") 0, options(noreturn));
    }
}

/// The handler of a signal that ends a wait.
extern "C" fn on_sigusr1(_: c_int) {}

/// The handler of SIGSYS.
unsafe extern "C" fn on_sigsys(_: c_int, info: *const siginfo_t, context: *const c_void) {
    /// The part of `siginfo_t` that is SIGSYS's.
    #[repr(C)]
    struct Sys {
        signo: c_int,
        errno: c_int,
        code: c_int,
        call_addr: u64,
        syscall: c_int,
        arch: u32,
    }
    // SAFETY: set before there are filters, for as long as the process.
    let shared = unsafe { &*SHARED.load(Ordering::Acquire) };
    // SAFETY: the kernel gives a handler its signal's information, of this layout for SIGSYS.
    let sys = unsafe { &*info.cast::<Sys>() };
    // SAFETY: and the context that it interrupted.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    shared.errno.store(sys.errno, Ordering::Relaxed);
    shared.syscall.store(sys.syscall, Ordering::Relaxed);
    shared.arch.store(sys.arch, Ordering::Relaxed);
    shared.call_addr.store(sys.call_addr, Ordering::Relaxed);
    shared.returned.store(context.uc_mcontext.gregs[libc::REG_RAX as usize], Ordering::Relaxed);
    shared.trapped.store(1, Ordering::Release);
}
