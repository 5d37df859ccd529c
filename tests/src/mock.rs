//! A kernel whose threads do what a test tells them, one system call at a time.
//!
//! It embeds the library as a real kernel would ([`Caller`] is its [`Kernel`]) and carries verdicts out on a
//! model of an x86_64 Linux that knows just what tests ask: threads that are born, fork and die, a few
//! signals, descriptors, no_new_privs, one capability, and a few calls that have no effect. What it lacks on
//! purpose, an embedding test says with [`Faults`]. A call that waits for a supervisor is a state of its thread,
//! which the test takes further ([`Process::resume`]).

mod extensions;
mod files;
mod listener;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cbpf_translator::SockFilter;
use seccomp_kernel::notify::FdPlace;
use seccomp_kernel::uapi::{PR_GET_SECCOMP, PR_SET_SECCOMP, SECCOMP_SET_MODE_FILTER};
use seccomp_kernel::{
    Arch, Decision, Exit, ExtensionRights, Fault, GroupLock, Interrupted, Kernel, ListenerError, LogEntry,
    Sigsys, TaskIds, ThreadGroup, ThreadState, Verdict, enter, syscall,
};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{Budget, EngineKind, ExecMemory, HELPERS, NoExecMemory, SeccompData, UserSpace};
use syscalls::Errno;

use self::extensions::Asking;
pub use self::extensions::{NoAnswers, extension_bytes, map_bytes};
use self::files::Descriptors;
pub use self::files::{File, LIMIT};
use self::listener::{Entering, Sleep};
pub use self::listener::{Listener, NewListener, Progress, Signal};

/// The address behind every system call instruction.
pub const INSTRUCTION_POINTER: u64 = 0x40_1002;

/// What `getpid` and its like return.
pub const SOME_PID: i64 = 77;

const LEADER: i32 = 1000;
const SIGKILL: i32 = 9;
const SIGILL: i32 = 4;
const SIGSEGV: i32 = 11;
const SIGSYS: i32 = 31;

/// What this kernel lacks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// No page can be made executable.
    pub no_exec_memory: bool,
    /// A fatal signal is pending whenever a thread waits for the group's lock.
    pub fatal_signal: bool,
}

/// What a process does about SIGSYS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Dies.
    Default,
    /// Has a handler, which returns.
    Handled,
    /// Ignores it.
    Ignored,
    /// Has a handler, but the thread blocks the signal.
    Blocked,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed {
        /// The signal.
        signal: i32,
        /// With a core dump.
        core: bool,
    },
}

/// What came of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It returned this.
    Returned(i64),
    /// SIGSYS was handled; afterwards the return register held this.
    Trapped(Sigsys, i64),
    /// The thread is no more, and perhaps the process ([`Process::end`]).
    Gone,
    /// The thread sleeps in it: [`Process::resume`] goes on.
    Asleep,
}

/// What filters run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The engine.
    pub kind: EngineKind,
    /// Whether they are planned.
    pub plan: bool,
}

impl Engine {
    /// Each engine, without a plan and with one.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        [false, true].into_iter().flat_map(|plan| EngineKind::ALL.map(|kind| Self { kind, plan }))
    }
}

impl From<EngineKind> for Engine {
    fn from(kind: EngineKind) -> Self {
        Self { kind, plan: false }
    }
}

/// A process.
pub struct Process {
    /// Live threads, the oldest first: what the group's lock protects.
    threads: Mutex<Vec<Arc<Thread>>>,
    memory: Arc<Memory>,
    /// None when the process has ended.
    descriptors: Mutex<Option<Arc<Descriptors>>>,
    disposition: Mutex<Disposition>,
    log: Mutex<Vec<LogEntry>>,
    end: Mutex<Option<End>>,
    /// The thread id that was given last.
    last_tid: Arc<AtomicI32>,
    engine: Engine,
    faults: Faults,
    exempts_uprobes: bool,
    grants_extensions: bool,
    tgid: i32,
    /// Lines that extensions printed.
    traced: Arc<Mutex<Vec<String>>>,
}

/// A thread of a [`Process`].
#[derive(Debug)]
pub struct Thread {
    seccomp: ThreadState,
    tid: i32,
    no_new_privs: AtomicBool,
    /// It has CAP_SYS_ADMIN.
    admin: AtomicBool,
    sigsys_blocked: AtomicBool,
    tsc_disabled: AtomicBool,
    sleep: Mutex<Option<Sleep>>,
    /// What has come for it while it sleeps.
    signal: Mutex<Option<Signal>>,
    /// A listener has woken it.
    awake: Arc<AtomicBool>,
}

impl Process {
    /// A process with one thread, which has all privileges. Filters run on `engine`.
    pub fn new(engine: impl Into<Engine>, faults: Faults) -> Self {
        let leader = Thread {
            seccomp: ThreadState::new(),
            tid: LEADER,
            no_new_privs: AtomicBool::new(false),
            admin: AtomicBool::new(true),
            sigsys_blocked: AtomicBool::new(false),
            tsc_disabled: AtomicBool::new(false),
            sleep: Mutex::default(),
            signal: Mutex::default(),
            awake: Arc::default(),
        };
        Self {
            threads: Mutex::new(vec![Arc::new(leader)]),
            memory: Arc::default(),
            descriptors: Mutex::new(Some(Arc::default())),
            disposition: Mutex::new(Disposition::Default),
            log: Mutex::default(),
            end: Mutex::default(),
            last_tid: Arc::new(AtomicI32::new(LEADER)),
            engine: engine.into(),
            faults,
            exempts_uprobes: false,
            grants_extensions: false,
            tgid: LEADER,
            traced: Arc::default(),
        }
    }

    /// The process, and its children, on a kernel that lets uprobes' calls through
    /// ([`Kernel::exempts_uprobes`]).
    pub fn exempting_uprobes(self) -> Self {
        Self { exempts_uprobes: true, ..self }
    }

    /// The oldest live thread.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn leader(&self) -> Arc<Thread> {
        Arc::clone(self.group().first().expect("a live thread"))
    }

    /// A new thread, child of `parent`.
    pub fn spawn(&self, parent: &Thread) -> Arc<Thread> {
        let mut threads = self.group();
        let tid = self.next_tid();
        self.copy_storage(parent, TaskIds { thread: extensions::id(tid), ..self.task_ids(parent) });
        let child = Arc::new(parent.child(tid));
        threads.push(Arc::clone(&child));
        child
    }

    /// A new process, child of `parent`, which is a thread of this one. It shares this one's memory: nothing
    /// here writes what another process reads.
    pub fn fork(&self, parent: &Thread) -> Self {
        self.child(parent, Arc::new(self.descriptors().copy()))
    }

    /// As [`fork`](Self::fork), and it shares this one's descriptors too (`CLONE_FILES`).
    pub fn fork_sharing_files(&self, parent: &Thread) -> Self {
        self.child(parent, self.descriptors())
    }

    fn child(&self, parent: &Thread, descriptors: Arc<Descriptors>) -> Self {
        let _threads = self.group();
        let tid = self.next_tid();
        self.copy_storage(parent, TaskIds { thread: extensions::id(tid), group: extensions::id(tid) });
        Self {
            threads: Mutex::new(vec![Arc::new(parent.child(tid))]),
            tgid: tid,
            traced: Arc::clone(&self.traced),
            memory: Arc::clone(&self.memory),
            descriptors: Mutex::new(Some(descriptors)),
            disposition: Mutex::new(self.disposition()),
            log: Mutex::default(),
            end: Mutex::default(),
            last_tid: Arc::clone(&self.last_tid),
            ..*self
        }
    }

    fn next_tid(&self) -> i32 {
        self.last_tid.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The only thread `thread` executes a program.
    pub fn exec(&self, thread: &Thread) {
        assert!(self.group().iter().all(|other| other.tid == thread.tid), "it has other threads");
        let descriptors = self.descriptors().copy();
        descriptors.exec();
        let shared = self.files().replace(Arc::new(descriptors));
        drop(shared);
        let mut disposition = self.disposition.lock().expect("no test panicked");
        if matches!(*disposition, Disposition::Handled | Disposition::Blocked) {
            *disposition = Disposition::Default;
        }
    }

    /// Whether `thread` lives.
    pub fn has(&self, thread: &Thread) -> bool {
        self.group().iter().any(|other| other.tid == thread.tid)
    }

    /// How the process ended, if it has.
    pub fn end(&self) -> Option<End> {
        *self.end.lock().expect("no test panicked")
    }

    /// User memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The audit records so far.
    pub fn log(&self) -> Vec<LogEntry> {
        self.log.lock().expect("no test panicked").clone()
    }

    /// Changes what happens to SIGSYS sent to `thread`.
    pub fn set_disposition(&self, thread: &Thread, disposition: Disposition) {
        thread.sigsys_blocked.store(disposition == Disposition::Blocked, Ordering::Relaxed);
        *self.disposition.lock().expect("no test panicked") = disposition;
    }

    /// The library's view of this kernel while `thread` is in a system call.
    pub fn caller<'p>(&'p self, thread: &'p Thread) -> Caller<'p> {
        Caller { process: self, thread }
    }

    /// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)` by `thread`, past its own filters.
    ///
    /// # Errors
    ///
    /// The call's.
    pub fn install(&self, thread: &Thread, flags: u32, program: &[SockFilter]) -> Result<i32, Errno> {
        let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
        let filter = self.memory.add(&bytes);
        let len = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
        let fprog = self.memory.add(&fprog(Arch::X86_64, len, filter));
        let caller = self.caller(thread);
        let answer = syscall::seccomp(&caller, Arch::X86_64, SECCOMP_SET_MODE_FILTER, flags, fprog);
        self.memory.remove(fprog);
        self.memory.remove(filter);
        answer
    }

    /// One system call of `thread`, from its entry to what comes of it.
    pub fn enter(&self, thread: &Thread, entry: Arch, nr: i32, args: [u64; 6]) -> Reply {
        // A filter sees whole registers, also of 64-bit code that makes a 32-bit call
        // (`syscall_get_arguments`); the call gets their low halves.
        let arch = entry.audit_arch();
        let data = SeccompData { nr, arch, instruction_pointer: INSTRUCTION_POINTER, args };
        let asking = self.grants_extensions.then_some(Asking { process: self, thread });
        let mut entering = Entering { thread, data, asking, request: None };
        let Decision { verdict, log, .. } = enter(&thread.seccomp, Default::default(), &mut entering);
        if let Some((listener, id)) = entering.request {
            thread.awake.store(false, Ordering::Relaxed);
            thread.fall_asleep(Sleep::Call { listener, id, wait: None, call: data, entry, log });
            return Reply::Asleep;
        }
        self.record(log);
        match verdict {
            Verdict::Proceed => self.dispatch(thread, entry, nr, args),
            Verdict::Return(value) => Reply::Returned(value),
            Verdict::Trap(sigsys) => {
                let handled = matches!(self.disposition(), Disposition::Handled | Disposition::Blocked);
                if handled && !thread.sigsys_blocked.load(Ordering::Relaxed) {
                    return Reply::Trapped(sigsys, nr.into());
                }
                self.kill(SIGSYS)
            }
            Verdict::Skip => error(Errno::ENOSYS),
            Verdict::Trace { .. } | Verdict::Notify { .. } | Verdict::Restart => {
                panic!("somebody was asked who is not there")
            }
            Verdict::KillStrict => self.leave(thread, End::Killed { signal: SIGKILL, core: false }),
            Verdict::KillThread(_) if self.group().len() > 1 => {
                self.leave(thread, End::Killed { signal: SIGSYS, core: false })
            }
            Verdict::KillThread(_) | Verdict::KillProcess(_) => self.kill(SIGSYS),
        }
    }

    /// `rdtsc` by `thread`.
    pub fn read_time(&self, thread: &Thread) -> Reply {
        if thread.tsc_disabled.load(Ordering::Relaxed) { self.kill(SIGSEGV) } else { Reply::Returned(0) }
    }

    /// Runs a call that seccomp let through, as the entry has it.
    fn dispatch(&self, thread: &Thread, entry: Arch, nr: i32, args: [u64; 6]) -> Reply {
        if entry.is_compat() {
            self.call(thread, entry, nr, args.map(|arg| arg & u64::from(u32::MAX)))
        } else {
            self.call(thread, Arch::of_call(entry.audit_arch(), nr).unwrap_or(entry), nr, args)
        }
    }

    fn call(&self, thread: &Thread, entry: Arch, nr: i32, args: [u64; 6]) -> Reply {
        // Linux is rarely built with x32.
        let Some(name) = entry.syscall_name(nr).filter(|_| entry != Arch::X32) else {
            return error(Errno::ENOSYS);
        };
        const F_GETFD: u64 = 1;
        let status = End::Exited(args[0] as i32 & 0xff);
        match name {
            "seccomp" => {
                let (op, flags) = (args[0] as u32, args[1] as u32);
                answer(syscall::seccomp(&self.caller(thread), entry, op, flags, args[2]))
            }
            "prctl" => answer(self.prctl(thread, entry, args)),
            "capset" => {
                thread.admin.store(false, Ordering::Relaxed);
                Reply::Returned(0)
            }
            "getpid" | "getppid" | "gettid" => Reply::Returned(SOME_PID),
            "read" | "write" if args[0] as i32 == -1 => error(Errno::EBADF),
            "close" if args[0] >= 3 => answer(self.close(args[0] as u32)),
            // What it opens is closed at once.
            "openat" => answer(self.open(File::Plain).and_then(|fd| self.close(fd as u32))),
            "read" | "close" | "rt_sigreturn" | "execveat" => Reply::Returned(0),
            "fcntl" | "fcntl64" if args[1] == F_GETFD => {
                answer(self.descriptors().closes_on_exec(args[0] as u32).map(i32::from))
            }
            "dup" => answer(self.duplicate(args[0] as u32)),
            "poll" => answer(self.poll(args[0])),
            "ioctl" => self.ioctl(thread, args[0] as u32, args[1] as u32, args[2]),
            "readlink" => answer(self.read_link(args)),
            "setrlimit" => answer(self.limit_files(args[1])),
            "exit" => self.leave(thread, status),
            "exit_group" => self.finish(status),
            // Not from where the kernel puts them.
            "uretprobe" => self.kill(SIGILL),
            "uprobe" => error(Errno::ENXIO),
            _ => panic!("this kernel has no {name}"),
        }
    }

    fn prctl(&self, thread: &Thread, entry: Arch, args: [u64; 6]) -> Result<i32, Errno> {
        const PR_SET_NO_NEW_PRIVS: u32 = 38;
        const PR_GET_NO_NEW_PRIVS: u32 = 39;
        let [option, second, third, fourth, fifth, _] = args;
        match option as u32 {
            PR_GET_SECCOMP => Ok(syscall::prctl_get_seccomp(&self.caller(thread))),
            PR_SET_SECCOMP => syscall::prctl_set_seccomp(&self.caller(thread), entry, second, third),
            PR_SET_NO_NEW_PRIVS if [second, third, fourth, fifth] == [1, 0, 0, 0] => {
                seccomp_kernel::Thread::set_no_new_privs(thread);
                Ok(0)
            }
            PR_GET_NO_NEW_PRIVS if [second, third, fourth, fifth] == [0; 4] => {
                Ok(seccomp_kernel::Thread::no_new_privs(thread).into())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn close(&self, fd: u32) -> Result<i32, Errno> {
        if self.descriptors().close(fd) { Ok(0) } else { Err(Errno::EBADF) }
    }

    fn duplicate(&self, fd: u32) -> Result<i32, Errno> {
        self.open(self.descriptors().get(fd)?)
    }

    /// Opens `file` at the lowest free descriptor, which stays open on exec.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn open(&self, file: File) -> Result<i32, Errno> {
        let fd = self.descriptors().install(FdPlace { newfd: None, close_on_exec: false }, file)?;
        Ok(fd.cast_signed())
    }

    /// What a descriptor leads to.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub fn file(&self, fd: u32) -> Result<File, Errno> {
        self.descriptors().get(fd)
    }

    /// The numbers of open descriptors.
    pub fn open_files(&self) -> Vec<u32> {
        self.descriptors().open()
    }

    /// One `struct pollfd` and no time.
    fn poll(&self, address: u64) -> Result<i32, Errno> {
        const POLLNVAL: u32 = 0x20;
        const ALWAYS: u32 = 0x18;
        const READY: u32 = 0x145;
        let mut pollfd = [0; 8];
        self.memory.read(address, &mut pollfd)?;
        let [fd @ .., asked_low, asked_high, _, _] = pollfd;
        let asked = u32::from(u16::from_ne_bytes([asked_low, asked_high])) | ALWAYS;
        let found = match self.descriptors().get(u32::from_ne_bytes(fd)) {
            Ok(File::Listener(file)) => file.0.poll().bits() & asked,
            Ok(File::Plain) => READY & asked,
            Err(_) => POLLNVAL,
        };
        self.memory.write(address + 6, &(found as u16).to_ne_bytes())?;
        Ok((found != 0).into())
    }

    /// Of a descriptor in `/proc`.
    fn read_link(&self, [path, buffer, size, ..]: [u64; 6]) -> Result<i32, Errno> {
        let mut fd = [0; 16];
        self.memory.read(path, &mut fd)?;
        let fd = fd.strip_prefix(b"/proc/self/fd/").and_then(|fd| fd.first()).ok_or(Errno::ENOENT)?;
        let name: &[u8] = match self.descriptors().get(u32::from(fd.wrapping_sub(b'0'))) {
            Ok(File::Listener(_)) => b"anon_inode:seccomp notify",
            Ok(File::Plain) => b"/dev/null",
            Err(_) => return Err(Errno::ENOENT),
        };
        let name = name.get(..size as usize).unwrap_or(name);
        self.memory.write(buffer, name)?;
        Ok(name.len() as i32)
    }

    /// RLIMIT_NOFILE becomes what is at `address`.
    fn limit_files(&self, address: u64) -> Result<i32, Errno> {
        let mut limit = [0; 8];
        self.memory.read(address, &mut limit)?;
        self.descriptors().set_limit(u64::from_ne_bytes(limit) as u32);
        Ok(0)
    }

    /// One thread ends; the process does with its last, and in the same way (`synchronize_group_exit`).
    fn leave(&self, thread: &Thread, end: End) -> Reply {
        let mut threads = self.group();
        let exit = thread.seccomp.exit();
        threads.retain(|other| other.tid != thread.tid);
        let last = threads.is_empty();
        thread.seccomp.task_exited(self.task_ids(thread), threads.iter().map(|other| &other.seccomp));
        drop(threads);
        // A listener may be told that nobody is left, or be closed: that needs no lock of ours.
        drop(exit);
        if last {
            self.end.lock().expect("no test panicked").get_or_insert(end);
            let files = self.files().take();
            drop(files);
        }
        Reply::Gone
    }

    /// `thread` dies of what its whole process dies of.
    fn die(&self, thread: &Thread) -> Reply {
        let end = self.end();
        self.leave(thread, end.unwrap_or(End::Killed { signal: SIGKILL, core: false }))
    }

    fn kill(&self, signal: i32) -> Reply {
        self.finish(End::Killed { signal, core: true })
    }

    /// All threads end. Those that sleep leave their calls before.
    fn finish(&self, end: End) -> Reply {
        self.end.lock().expect("no test panicked").get_or_insert(end);
        let mut threads = self.group();
        let (asleep, gone): (Vec<_>, Vec<_>) = threads.drain(..).partition(|thread| thread.sleeps());
        let exits: Vec<Exit<'_>> = gone.iter().map(|thread| thread.seccomp.exit()).collect();
        threads.clone_from(&asleep);
        let last = threads.is_empty();
        for thread in &gone {
            thread.seccomp.task_exited(self.task_ids(thread), threads.iter().map(|other| &other.seccomp));
        }
        drop(threads);
        drop(exits);
        if last {
            let files = self.files().take();
            drop(files);
        }
        for thread in asleep {
            thread.notice(Signal::Kill);
        }
        Reply::Gone
    }

    fn record(&self, log: Option<LogEntry>) {
        self.log.lock().expect("no test panicked").extend(log);
    }

    /// # Panics
    ///
    /// The process has ended.
    fn descriptors(&self) -> Arc<Descriptors> {
        Arc::clone(self.files().as_ref().expect("a process that lives"))
    }

    fn files(&self) -> MutexGuard<'_, Option<Arc<Descriptors>>> {
        self.descriptors.lock().expect("no test panicked")
    }

    fn disposition(&self) -> Disposition {
        *self.disposition.lock().expect("no test panicked")
    }

    fn group(&self) -> MutexGuard<'_, Vec<Arc<Thread>>> {
        self.threads.lock().expect("no test panicked")
    }
}

fn answer(result: Result<i32, Errno>) -> Reply {
    result.map_or_else(error, |value| Reply::Returned(value.into()))
}

fn error(errno: Errno) -> Reply {
    Reply::Returned(-i64::from(errno.into_raw()))
}

/// `struct sock_fprog` as a caller through `entry` lays it out.
pub fn fprog(entry: Arch, len: u16, filter: u64) -> Vec<u8> {
    let mut bytes = len.to_ne_bytes().to_vec();
    if entry.is_compat() {
        bytes.resize(4, 0);
        bytes.extend((filter as u32).to_ne_bytes());
    } else {
        bytes.resize(8, 0);
        bytes.extend(filter.to_ne_bytes());
    }
    bytes
}

impl Thread {
    /// What a thread or process has from its parent.
    fn child(&self, tid: i32) -> Self {
        let copy = |flag: &AtomicBool| AtomicBool::new(flag.load(Ordering::Relaxed));
        Self {
            seccomp: self.seccomp.inherit(),
            tid,
            no_new_privs: copy(&self.no_new_privs),
            admin: copy(&self.admin),
            sigsys_blocked: copy(&self.sigsys_blocked),
            tsc_disabled: copy(&self.tsc_disabled),
            sleep: Mutex::default(),
            signal: Mutex::default(),
            awake: Arc::default(),
        }
    }

    /// Whether it sleeps in a call.
    pub fn sleeps(&self) -> bool {
        self.sleep().is_some()
    }

    fn fall_asleep(&self, sleep: Sleep) {
        *self.sleep() = Some(sleep);
    }

    fn notice(&self, signal: Signal) {
        let mut pending = self.signal();
        *pending = pending.max(Some(signal));
    }

    fn sleep(&self) -> MutexGuard<'_, Option<Sleep>> {
        self.sleep.lock().expect("no test panicked")
    }

    fn signal(&self) -> MutexGuard<'_, Option<Signal>> {
        self.signal.lock().expect("no test panicked")
    }

    /// The seccomp part of `/proc/PID/status`.
    pub fn status(&self) -> String {
        format!(
            "NoNewPrivs {}, Seccomp {}, Seccomp_filters {}",
            u8::from(self.no_new_privs.load(Ordering::Relaxed)),
            self.seccomp.mode() as u8,
            self.seccomp.filter_count()
        )
    }
}

impl seccomp_kernel::Thread for Thread {
    fn seccomp(&self) -> &ThreadState {
        &self.seccomp
    }

    fn tid(&self) -> i32 {
        self.tid
    }

    fn no_new_privs(&self) -> bool {
        self.no_new_privs.load(Ordering::Relaxed)
    }

    fn set_no_new_privs(&self) {
        self.no_new_privs.store(true, Ordering::Relaxed);
    }
}

/// The [`Kernel`] of a thread that is in a system call.
#[derive(Clone, Copy)]
pub struct Caller<'p> {
    process: &'p Process,
    thread: &'p Thread,
}

/// A process's threads while its lock is held, as one of them sees them.
pub struct Group<'p> {
    threads: MutexGuard<'p, Vec<Arc<Thread>>>,
    caller: i32,
}

impl ThreadGroup for Group<'_> {
    type Thread = Thread;

    fn for_each_sibling(&self, f: &mut dyn FnMut(&Thread) -> ControlFlow<()>) {
        let mut siblings = self.threads.iter().filter(|thread| thread.tid != self.caller);
        let _ = siblings.try_for_each(|thread| f(thread));
    }
}

impl<'p> Kernel for Caller<'p> {
    type Thread = Thread;
    type Group = Group<'p>;
    type NewListener = NewListener;

    fn current(&self) -> &Thread {
        self.thread
    }

    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.process.memory.read(address, into)
    }

    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.process.memory.write(address, from)
    }

    fn may_install(&self) -> bool {
        self.thread.admin.load(Ordering::Relaxed)
    }

    fn with_group<R>(&self, lock: GroupLock, f: impl FnOnce(&Group<'p>) -> R) -> Result<R, Interrupted> {
        // A spin lock is not interrupted.
        if self.process.faults.fatal_signal && lock == GroupLock::ThreadSync {
            return Err(Interrupted);
        }
        Ok(f(&Group { threads: self.process.group(), caller: self.thread.tid }))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        if self.process.faults.no_exec_memory { &NoExecMemory } else { &HostExecMemory }
    }

    fn engine(&self) -> EngineKind {
        self.process.engine.kind
    }

    fn planned_entries(&self) -> &[Arch] {
        if self.process.engine.plan { &[Arch::X86_64, Arch::I386] } else { &[] }
    }

    fn extension_rights(&self) -> Option<ExtensionRights<'_>> {
        self.process.grants_extensions.then_some(ExtensionRights {
            helpers: &HELPERS,
            budget: Budget::DEFAULT,
            engine: self.process.engine.kind,
            map_bytes: 1 << 20,
            uses_copies: false,
            preemption: &UserSpace,
            seed: [1, 2],
        })
    }

    fn new_listener(&self, wait_killable: bool) -> Result<NewListener, ListenerError> {
        NewListener::new(self.process.descriptors(), wait_killable)
    }

    fn exempts_uprobes(&self) -> bool {
        self.process.exempts_uprobes
    }

    fn entered_strict(&self) {
        self.thread.tsc_disabled.store(true, Ordering::Relaxed);
    }
}

/// User memory: some regions, and faults everywhere else.
#[derive(Debug, Default)]
pub struct Memory {
    regions: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// Where regions begin that can only be read.
    read_only: Mutex<BTreeSet<u64>>,
}

impl Memory {
    /// Maps `bytes` at `address`, which is far from other regions.
    pub fn map(&self, address: u64, bytes: Vec<u8>) {
        self.regions().insert(address, bytes);
    }

    /// As [`map`](Self::map), and it can only be read.
    pub fn map_read_only(&self, address: u64, bytes: Vec<u8>) {
        self.read_only.lock().expect("no test panicked").insert(address);
        self.map(address, bytes);
    }

    /// Maps `bytes` somewhere.
    pub fn add(&self, bytes: &[u8]) -> u64 {
        const FIRST: u64 = 0x7f00_0000_0000;
        let mut regions = self.regions();
        let behind = regions.last_key_value().map_or(FIRST, |(start, bytes)| start + bytes.len() as u64);
        // Not next to each other, so that running past the end faults.
        let address = (behind.max(FIRST) + 64).next_multiple_of(64);
        regions.insert(address, bytes.to_vec());
        address
    }

    /// Removes what [`add`](Self::add) mapped at `address`.
    pub fn remove(&self, address: u64) {
        self.regions().remove(&address);
    }

    /// Fills `into` from `address` on.
    ///
    /// # Errors
    ///
    /// Some of it is not mapped.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.with(address, into.len(), |_, bytes| {
            into.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// Stores `from` at `address`.
    ///
    /// # Errors
    ///
    /// Some of it is not mapped, or can only be read.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.with(address, from.len(), |start, bytes| {
            if self.read_only.lock().expect("no test panicked").contains(&start) {
                return Err(Fault);
            }
            bytes.copy_from_slice(from);
            Ok(())
        })
    }

    fn with(
        &self,
        address: u64,
        len: usize,
        f: impl FnOnce(u64, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut regions = self.regions();
        let (start, region) = regions.range_mut(..=address).next_back().ok_or(Fault)?;
        let from = usize::try_from(address - start).map_err(|_| Fault)?;
        let bytes = region.get_mut(from..).and_then(|rest| rest.get_mut(..len)).ok_or(Fault)?;
        f(*start, bytes)
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.regions.lock().expect("no test panicked")
    }
}
