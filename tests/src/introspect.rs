//! What a debugger is told of a thread's filters: the same questions to the kernel of this machine and to the
//! library.
//!
//! On the host the debugger is a thread of this process, since privileges, filters and tracees are a
//! thread's; the tracee is a forked child that takes on its filters and then only spins.

#![expect(unsafe_code, reason = "system calls of the kind that the tests are about, in a forked child")]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{fs, hint, io, ptr, thread};

use cbpf_translator::SockFilter;
use libc::{c_long, c_void, pid_t, sock_fprog};
use seccomp_kernel::introspect::{PTRACE_SECCOMP_GET_FILTER, PTRACE_SECCOMP_GET_METADATA, Request, Status};
use seccomp_kernel::uapi::SECCOMP_MODE_STRICT;
use seccomp_kernel::{Arch, Thread, syscall};
use seccomp_runtime::EngineKind;
use syscalls::Errno;

use crate::mock::{Faults, Process};

const PAGE: usize = 4096;
const ALLOW: SockFilter = SockFilter::new(0x06, 0, 0, 0x7fff_0000);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Debugger {
    /// It has CAP_SYS_ADMIN.
    pub admin: bool,
    /// It has a filter of its own.
    pub filtered: bool,
}

/// Who is asked about.
#[derive(Clone, Debug)]
pub struct Tracee {
    /// It has no_new_privs.
    pub no_new_privs: bool,
    /// How it is confined.
    pub confined: Confined,
}

/// How a tracee is confined.
#[derive(Clone, Debug)]
pub enum Confined {
    /// Not at all.
    No,
    /// Strict mode.
    Strict,
    /// By filters and the flags they are installed with, the first the oldest.
    Filters(Vec<(u32, Vec<SockFilter>)>),
}

/// A question: a ptrace request, without its address.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What is asked for.
    pub about: About,
    /// The bytes that there are for the answer before memory ends; none is a null pointer.
    pub room: Option<usize>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum About {
    /// The program of a filter.
    Program {
        /// Which filter.
        index: u64,
    },
    /// The flags of a filter.
    Metadata {
        /// Which filter.
        index: u64,
        /// What the caller says is the size of its structure.
        size: u64,
    },
}

/// The value returned and what memory holds then, or the errno.
pub type Answer = Result<(u64, Vec<u8>), i32>;

impl Question {
    /// The arguments of ptrace(2), with `address` for the answer.
    fn arguments(self, address: u64) -> (u32, u64, u64) {
        match self.about {
            About::Program { index } => (PTRACE_SECCOMP_GET_FILTER, index, address),
            About::Metadata { size, .. } => (PTRACE_SECCOMP_GET_METADATA, size, address),
        }
    }

    /// What memory holds before.
    fn memory(self) -> Vec<u8> {
        let mut memory = vec![0xaa; self.room.unwrap_or(0)];
        if let About::Metadata { index, .. } = self.about {
            memory.iter_mut().zip(index.to_ne_bytes()).for_each(|(to, byte)| *to = byte);
        }
        memory
    }
}

/// What the library answers.
///
/// # Panics
///
/// A filter is none.
pub fn ours(debugger: Debugger, tracee: &Tracee, questions: &[Question]) -> (String, Vec<Answer>) {
    let plain = |_| Process::new(EngineKind::DEFAULT, Faults::default());
    let [asking, asked] = [(), ()].map(plain);
    let target = asked.leader();
    if tracee.no_new_privs {
        target.set_no_new_privs();
    }
    match &tracee.confined {
        Confined::No => {}
        Confined::Strict => {
            let strict =
                syscall::prctl_set_seccomp(&asked.caller(&target), Arch::X86_64, SECCOMP_MODE_STRICT, 0);
            assert_eq!(strict, Ok(0));
        }
        Confined::Filters(filters) => {
            for (flags, program) in filters {
                assert_eq!(asked.install(&target, *flags, program), Ok(0));
            }
        }
    }
    let caller = asking.leader();
    if debugger.filtered {
        assert_eq!(asking.install(&caller, 0, &[ALLOW]), Ok(0));
    }
    let answers = questions.iter().map(|question| {
        let mut memory = question.memory();
        let address = question.room.map_or(0, |_| asking.memory().add(&memory));
        let (request, addr, data) = question.arguments(address);
        let request = Request::decode(request, addr, data).expect("a request of ours");
        let returned = request
            .serve(&asking.caller(&caller), debugger.admin, target.seccomp())
            .map_err(|error| Errno::from(error).into_raw())?;
        if address != 0 {
            asking.memory().read(address, &mut memory).expect("it was mapped");
        }
        Ok((returned, memory))
    });
    (Status::of(&*target).to_string(), answers.collect())
}

/// What the kernel of this machine answers.
///
/// # Panics
///
/// The tracee cannot be made, or not be traced.
pub fn host(debugger: Debugger, tracee: &Tracee, questions: &[Question]) -> (String, Vec<Answer>) {
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let tracee = Traced::new(tracee);
            let status = tracee.status();
            if debugger.filtered {
                assert_eq!(install(0, &fprog(&[ALLOW])), 0, "{}", io::Error::last_os_error());
            }
            if !debugger.admin {
                drop_sys_admin();
            }
            (status, questions.iter().map(|question| tracee.ask(*question)).collect())
        });
        asking.join().expect("the debugger has its answers")
    })
}

/// Takes CAP_SYS_ADMIN from this thread for good.
///
/// # Panics
///
/// It cannot be taken.
pub fn drop_sys_admin() {
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_ADMIN: u32 = 1 << 21;
    let header = [VERSION_3, 0];
    // Effective, permitted and inheritable; the low halves, then the high ones.
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the header is of a version whose sets have this layout, and both are ours.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    assert_eq!(got, 0, "capget: {}", io::Error::last_os_error());
    let [[effective, permitted, _], _] = &mut sets;
    *effective &= !SYS_ADMIN;
    *permitted &= !SYS_ADMIN;
    // SAFETY: as above; it changes this thread alone.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(set, 0, "capset: {}", io::Error::last_os_error());
}

/// Gives the program that `command` starts this filter.
///
/// # Panics
///
/// The filter is longer than `sock_fprog` can say.
pub fn filtered(command: &mut Command, program: &[SockFilter]) {
    let program = program.to_vec();
    let install = move || match install(0, &fprog(&program)) {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: in the child it makes one system call; it neither allocates nor panics.
    unsafe { command.pre_exec(install) };
}

fn fprog(program: &[SockFilter]) -> sock_fprog {
    let len = program.len().try_into().expect("a length of 16 bits");
    sock_fprog { len, filter: program.as_ptr().cast_mut().cast() }
}

/// Installs a filter that allows everything this thread does from here on.
fn install(flags: u32, program: &sock_fprog) -> c_long {
    // SAFETY: the kernel reads the program, which lives; what it allows is the caller's.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, program) }
}

/// A forked child that is stopped, and traced by this thread.
struct Traced {
    pid: pid_t,
}

impl Traced {
    fn new(tracee: &Tracee) -> Self {
        const READY: i32 = -1;
        let filters: Vec<_> = match &tracee.confined {
            Confined::Filters(filters) => {
                filters.iter().map(|(flags, program)| (*flags, fprog(program))).collect()
            }
            Confined::No | Confined::Strict => Vec::new(),
        };
        let strict = matches!(tracee.confined, Confined::Strict);
        let shared = Memory::new(PAGE, libc::MAP_SHARED);
        // SAFETY: the mapping is shared, zeroed, aligned, and lives until the end of this function.
        let state = unsafe { &*shared.base.cast::<AtomicI32>() };
        // SAFETY: the child calls the kernel and stores into the cell; it neither allocates nor panics.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: it changes this process alone.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            if tracee.no_new_privs {
                // SAFETY: as above.
                unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            }
            let installed = filters.iter().all(|(flags, program)| install(*flags, program) == 0);
            // SAFETY: as above; what follows makes no call.
            let confined = installed && (!strict || unsafe { libc::prctl(libc::PR_SET_SECCOMP, 1) } == 0);
            state.store(if confined { READY } else { libc::EINVAL }, Ordering::Release);
            loop {
                hint::spin_loop();
            }
        }
        assert!(pid > 0, "fork: {}", io::Error::last_os_error());
        let child = Self { pid };
        while state.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert_eq!(state.load(Ordering::Acquire), READY, "the child could not be confined");
        child.request(libc::PTRACE_SEIZE, 0, libc::PTRACE_O_EXITKILL as u64).expect("it is our child");
        child.request(libc::PTRACE_INTERRUPT, 0, 0).expect("it is traced");
        let mut status = 0;
        // SAFETY: the status is ours to be written.
        let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        assert!(stopped == pid && libc::WIFSTOPPED(status), "{status:#x}");
        child
    }

    fn request(&self, request: u32, addr: u64, data: u64) -> io::Result<u64> {
        // SAFETY: the requests that are made here write, if anything, to an address that the caller chose for
        // that.
        let returned =
            unsafe { libc::syscall(libc::SYS_ptrace, c_long::from(request), self.pid, addr, data) };
        u64::try_from(returned).map_err(|_| io::Error::last_os_error())
    }

    fn ask(&self, question: Question) -> Answer {
        let mut bytes = question.memory();
        let room = question.room.map(|_| Room::new(&bytes));
        let address = room.as_ref().map_or(0, Room::address);
        let (request, addr, data) = question.arguments(address);
        let returned =
            self.request(request, addr, data).map_err(|error| error.raw_os_error().unwrap_or_default())?;
        if let Some(room) = &room {
            room.read(&mut bytes);
        }
        Ok((returned, bytes))
    }

    /// The seccomp lines of its `/proc/PID/status`.
    fn status(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it lives");
        let ours = ["NoNewPrivs:", "Seccomp:", "Seccomp_filters:"];
        let lines = status.split_inclusive('\n');
        lines.filter(|line| ours.iter().any(|name| line.starts_with(name))).collect()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // SAFETY: it is our child, and nobody has waited for its end.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: a status is not asked for.
        unsafe { libc::waitpid(self.pid, ptr::null_mut(), libc::__WALL) };
    }
}

/// Some bytes, and no memory behind them.
struct Room {
    memory: Memory,
    len: usize,
}

impl Room {
    fn new(bytes: &[u8]) -> Self {
        let memory = Memory::new(bytes.len().next_multiple_of(PAGE) + PAGE, libc::MAP_PRIVATE);
        let room = Self { memory, len: bytes.len() };
        // SAFETY: the last page is the mapping's, and nothing is in it.
        let protected = unsafe { libc::mprotect(room.end(), PAGE, libc::PROT_NONE) };
        assert_eq!(protected, 0, "mprotect: {}", io::Error::last_os_error());
        // SAFETY: `len` bytes before the last page are mapped and ours.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), room.start(), room.len) };
        room
    }

    fn read(&self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.len);
        // SAFETY: as for the copy into it; the kernel writes only during a call.
        unsafe { ptr::copy_nonoverlapping(self.start(), bytes.as_mut_ptr(), self.len) };
    }

    fn address(&self) -> u64 {
        self.start().expose_provenance() as u64
    }

    fn start(&self) -> *mut u8 {
        self.end().cast::<u8>().wrapping_sub(self.len)
    }

    fn end(&self) -> *mut c_void {
        self.memory.base.wrapping_byte_add(self.memory.len - PAGE)
    }
}

/// A mapping.
struct Memory {
    base: *mut c_void,
    len: usize,
}

impl Memory {
    fn new(len: usize, sharing: i32) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel has room.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), len, protection, sharing | libc::MAP_ANONYMOUS, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        Self { base, len }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no borrow of it is left.
        unsafe { libc::munmap(self.base, self.len) };
    }
}
