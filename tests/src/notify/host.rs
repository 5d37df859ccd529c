//! A case on the kernel of this machine: each actor is a process of its own that makes the calls it is told to.
//!
//! The actors share a page of commands with us, sleep on it, and make one system call for each command. So the
//! forked code neither allocates nor locks, and all that decides is here. Whether everybody sleeps is seen in
//! `/proc`: nobody runs, and nobody has slept anew since we looked before.
//!
//! A target is kept from running, so that what comes for it piles up, by a process that does not let its
//! processor go (SCHED_FIFO); everybody else is on another one meanwhile.

#![expect(unsafe_code, reason = "system calls of the kind that the tests are about, in forked children")]

use std::collections::BTreeMap;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, hint, io, mem, process};

use cbpf_translator::SockFilter;
use cbpf_translator::seccomp::{RET_ALLOW, RET_USER_NOTIF};
use libc::{c_int, c_long};
use seccomp_kernel::notify::{SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND, SeccompNotif};
use seccomp_kernel::runtime::SeccompData;

use super::row::{ACTORS, Action, Actor, Argument, Place, Row, Signal, Step, TARGETS, bytes};
use super::{EVENTS, End, line};

/// The call that filters leave to a supervisor.
pub const NOTIFIED: i32 = libc::SYS_getppid as i32;

/// Commands that are no system call: become another actor in a new process, with these clone flags; and spin.
const FORK: c_long = -2;
const SPIN: c_long = -3;

/// The process that keeps a target from running.
const HOG: usize = ACTORS;

/// Bytes of memory that an actor is given arguments in.
pub const MEMORY: usize = 16384;

/// RLIMIT_NOFILE of actors at first.
pub const LIMIT: u64 = 1024;

/// An actor hangs if a case takes longer.
const SECONDS: u32 = 60;

/// Processors: one for held targets, one for everybody else.
const HELD: usize = 0;
const OTHERS: usize = 1;

const SECCOMP_SET_MODE_FILTER: u64 = 1;
const NEW_LISTENER: u64 = 1 << 3;
const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// What we share with actors. All zero at first.
#[repr(C, align(4096))]
struct Shared {
    slots: [Slot; ACTORS + 1],
    /// The hog spins while it is not 0.
    spin: AtomicU32,
    spinning: AtomicU32,
    /// Each ends where its guard begins.
    memories: [Memory; ACTORS + 1],
}

#[repr(C)]
struct Slot {
    /// The number of the command; the actor sleeps on it.
    command: AtomicU32,
    /// The last command that came to an end.
    done: AtomicU32,
    nr: AtomicI64,
    args: [AtomicU64; 6],
    value: AtomicI64,
}

/// Zeros behind which nothing can be read, and then zeros that can only be read.
#[repr(C, align(4096))]
struct Memory {
    bytes: [AtomicU8; MEMORY],
    guard: [AtomicU8; 4096],
    read_only: [AtomicU8; 4096],
}

/// Runs a case.
///
/// # Panics
///
/// This kernel does not let us, or an actor hangs.
pub fn run(row: &Row) -> Vec<String> {
    let mut host = Host::new(row.killable);
    row.steps
        .iter()
        .map(|step| {
            let mut ends = Vec::new();
            host.begin(step, &mut ends);
            host.settle();
            host.collect(&mut ends);
            line(ends)
        })
        .collect()
}

struct Host {
    shared: Mapping,
    pids: [i32; ACTORS + 1],
    /// What actors are at.
    jobs: [Option<Job>; ACTORS + 1],
    dead: [bool; ACTORS + 1],
    held: [bool; ACTORS],
    listener: u64,
    file: u32,
    /// The id before the first.
    base: u64,
}

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Call,
    /// Into memory from here on.
    Receive(usize),
    Poll,
    Other,
}

impl Host {
    /// Starts the actors: the first target installs the filter and gives its listener to the supervisors.
    fn new(killable: bool) -> Self {
        let mut host = Self {
            shared: Mapping::new(),
            pids: [0; ACTORS + 1],
            jobs: [None; ACTORS + 1],
            dead: [false; ACTORS + 1],
            held: [false; ACTORS],
            listener: 0,
            file: 0,
            base: 0,
        };
        let (a, b, x) = (0, 1, TARGETS);
        for first in [a, x, HOG] {
            host.start(first);
        }
        let null = host.put(x, 0, b"/dev/null\0");
        let flags = NEW_LISTENER | if killable { WAIT_KILLABLE_RECV } else { 0 };
        let fprog = host.put_filter(a);
        let theirs = host.must(a, libc::SYS_seccomp, &[SECCOMP_SET_MODE_FILTER, flags, fprog]);
        let pidfd = host.must(x, libc::SYS_pidfd_open, &[host.pids[a] as u64]);
        host.listener = host.must(x, libc::SYS_pidfd_getfd, &[pidfd, theirs]);
        host.file = host.must(x, libc::SYS_openat, &[libc::AT_FDCWD as u64, null]) as u32;
        host.must(x, libc::SYS_close, &[pidfd]);
        host.must(a, libc::SYS_close, &[theirs]);
        host.fork(a, b, 0);
        for other in TARGETS + 1..ACTORS {
            host.fork(x, other, libc::CLONE_FILES);
        }
        // Ids begin at random: the first request tells where.
        host.post(a, Job::Call, NOTIFIED.into(), &[]);
        let buffer = host.put(x, 0, &[0; size_of::<SeccompNotif>()]);
        host.must(x, libc::SYS_ioctl, &[host.listener, SECCOMP_IOCTL_NOTIF_RECV.into(), buffer]);
        host.base = u64::from_ne_bytes(host.take(x, 0));
        let response = [host.base, 0, 0].map(u64::to_ne_bytes);
        let response = host.put(x, 0, response.as_flattened());
        host.must(x, libc::SYS_ioctl, &[host.listener, SECCOMP_IOCTL_NOTIF_SEND.into(), response]);
        host.wait(a);
        host.jobs[a] = None;
        host
    }

    fn shared(&self) -> &Shared {
        self.shared.shared()
    }

    /// Forks an actor off this process.
    fn start(&mut self, at: usize) {
        // SAFETY: the child calls the kernel and uses atomics; it neither allocates nor takes locks, and never
        // leaves.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", io::Error::last_os_error()),
            0 => {
                prepare();
                serve(self.shared(), at)
            }
            pid => self.pids[at] = pid,
        }
    }

    /// Makes one actor fork another, as a child of ours.
    fn fork(&mut self, parent: usize, at: usize, flags: c_int) {
        let flags = flags | libc::CLONE_PARENT | libc::SIGCHLD;
        self.pids[at] = self.must(parent, FORK, &[flags as u64, at as u64]) as i32;
    }

    fn post(&mut self, at: usize, job: Job, nr: c_long, args: &[u64]) {
        assert!(self.jobs[at].is_none() && !self.dead[at], "{at} is busy or dead");
        self.jobs[at] = Some(job);
        let slot = &self.shared().slots[at];
        slot.nr.store(nr, Ordering::Relaxed);
        for (i, to) in slot.args.iter().enumerate() {
            to.store(args.get(i).copied().unwrap_or(0), Ordering::Relaxed);
        }
        slot.command.fetch_add(1, Ordering::Release);
        futex(libc::FUTEX_WAKE, &slot.command, 1);
    }

    /// The value of a call that is over.
    fn done(&self, at: usize) -> Option<i64> {
        let slot = &self.shared().slots[at];
        let done = slot.done.load(Ordering::Acquire) == slot.command.load(Ordering::Relaxed);
        done.then(|| slot.value.load(Ordering::Relaxed))
    }

    fn wait(&self, at: usize) -> i64 {
        let begun = Instant::now();
        loop {
            if let Some(value) = self.done(at) {
                return value;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "actor {at} hangs");
            std::thread::yield_now();
        }
    }

    /// A call that succeeds at once.
    fn must(&mut self, at: usize, nr: c_long, args: &[u64]) -> u64 {
        self.post(at, Job::Other, nr, args);
        let value = self.wait(at);
        self.jobs[at] = None;
        let error = || io::Error::from_raw_os_error(-value as i32);
        u64::try_from(value).unwrap_or_else(|_| panic!("call {nr} of {args:x?}: {}", error()))
    }

    /// Puts bytes into an actor's memory, with zeros behind, and returns their address.
    fn put(&self, at: usize, offset: usize, bytes: &[u8]) -> u64 {
        let to = &self.shared().memories[at].bytes[offset..];
        let bytes = bytes.iter().copied().chain(std::iter::repeat(0));
        to.iter().zip(bytes).for_each(|(to, byte)| to.store(byte, Ordering::Relaxed));
        to.as_ptr().expose_provenance() as u64
    }

    fn take<const N: usize>(&self, at: usize, offset: usize) -> [u8; N] {
        let bytes = &self.shared().memories[at].bytes[offset..];
        std::array::from_fn(|i| bytes[i].load(Ordering::Relaxed))
    }

    fn put_filter(&self, at: usize) -> u64 {
        let program = [
            SockFilter::new(0x20, 0, 0, 0),
            SockFilter::new(0x15, 0, 1, NOTIFIED as u32),
            SockFilter::new(0x06, 0, 0, RET_USER_NOTIF),
            SockFilter::new(0x06, 0, 0, RET_ALLOW),
        ];
        let program = program.map(SockFilter::to_ne_bytes);
        let address = self.put(at, 64, program.as_flattened());
        self.put(at, 0, [4_u64.to_le_bytes(), address.to_ne_bytes()].as_flattened());
        // That cleared what is behind it.
        self.put(at, 64, program.as_flattened());
        address - 64
    }

    fn begin(&mut self, step: &Step, ends: &mut Vec<(Actor, End)>) {
        let at = step.actor.index();
        if step.action.is_made() && (self.jobs[at].is_some() || self.dead[at]) {
            ends.push((step.actor, End::Unmade));
            return;
        }
        match &step.action {
            Action::Call => self.post(at, Job::Call, NOTIFIED.into(), &[]),
            Action::Signal(signal) => {
                let signal = match signal {
                    Signal::Handled => libc::SIGUSR1,
                    Signal::Restarting => libc::SIGUSR2,
                    Signal::Kill => libc::SIGKILL,
                };
                // SAFETY: the actor is a child of ours, which nobody has waited for.
                unsafe { libc::kill(self.pids[at], signal) };
            }
            Action::Hold => self.hold(at),
            Action::Release => self.release(at),
            Action::Limit(limit) => {
                let limit = [limit.to_ne_bytes(), limit.to_ne_bytes()];
                let limit = self.put(at, 0, limit.as_flattened());
                let value = self.must(at, libc::SYS_prlimit64, &[0, libc::RLIMIT_NOFILE.into(), limit]);
                ends.push((step.actor, End::Returned(value.cast_signed())));
            }
            Action::CloseOnExec(fd) => {
                self.post(at, Job::Other, libc::SYS_fcntl, &[(*fd).into(), libc::F_GETFD as u64]);
            }
            Action::Ioctl(ioctl) => {
                let argument = self.argument(at, &ioctl.argument);
                let job = match &ioctl.argument {
                    Argument::At(place, words) if ioctl.cmd == SECCOMP_IOCTL_NOTIF_RECV => {
                        Job::Receive(offset(*place, words.len()))
                    }
                    _ => Job::Other,
                };
                self.post(at, job, libc::SYS_ioctl, &[self.listener, ioctl.cmd.into(), argument]);
            }
            Action::Poll => {
                let fd = self.listener as u32;
                let poll = [&fd.to_ne_bytes()[..], &EVENTS.to_ne_bytes()].concat();
                let poll = self.put(at, 0, &poll);
                self.post(at, Job::Poll, libc::SYS_poll, &[poll, 1, 0]);
            }
            Action::Close => self.post(at, Job::Other, libc::SYS_close, &[self.listener]),
        }
    }

    fn argument(&self, at: usize, argument: &Argument) -> u64 {
        match argument {
            Argument::Number(number) => *number,
            Argument::At(Place::Null, _) => 0,
            Argument::At(Place::ReadOnly, _) => {
                self.shared().memories[at].read_only.as_ptr().expose_provenance() as u64
            }
            Argument::At(place, words) => {
                let bytes = bytes(words, self.base, self.file);
                self.put(at, offset(*place, bytes.len()), &bytes)
            }
        }
    }

    /// Who has come to an end since.
    fn collect(&mut self, ends: &mut Vec<(Actor, End)>) {
        for at in 0..ACTORS {
            let actor = Actor::of(at);
            if !self.dead[at] && state(self.pids[at]).0 == 'Z' {
                self.dead[at] = true;
                ends.push((actor, End::Killed));
            } else if let Some(job) = self.jobs[at]
                && let Some(value) = self.done(at)
            {
                self.jobs[at] = None;
                let end = match job {
                    Job::Call if value == i64::from(process::id()) => End::Allowed,
                    Job::Receive(offset) if value == 0 => End::Received(self.received(at, offset)),
                    Job::Poll if value >= 0 => End::Polled(u16::from_ne_bytes(self.take(at, 6)).into()),
                    _ => End::Returned(value),
                };
                ends.push((actor, end));
            }
        }
    }

    fn received(&self, at: usize, offset: usize) -> SeccompNotif {
        let bytes: [u8; size_of::<SeccompNotif>()] = self.take(at, offset);
        let u32_at = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let pid = u32_at(8);
        let target = self.pids.iter().position(|known| *known as u32 == pid);
        SeccompNotif {
            id: u64_at(0).wrapping_sub(self.base),
            pid: target.map_or(pid, |target| target as u32),
            flags: u32_at(12),
            data: SeccompData { nr: u32_at(16) as i32, ..SeccompData::default() },
        }
    }

    /// Waits until nobody has anything to do.
    fn settle(&self) {
        let begun = Instant::now();
        let look = || -> BTreeMap<usize, (char, u64)> {
            (0..ACTORS).map(|at| (at, if self.held[at] { ('S', 0) } else { state(self.pids[at]) })).collect()
        };
        let mut before = BTreeMap::new();
        loop {
            let now = look();
            if now == before && now.values().all(|(state, _)| matches!(state, 'S' | 'D' | 'Z')) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "somebody does not come to rest: {now:?}");
            before = now;
            std::thread::yield_now();
        }
    }

    fn hold(&mut self, target: usize) {
        for at in 0..ACTORS {
            pin(self.pids[at], if at == target { HELD } else { OTHERS });
        }
        pin(0, OTHERS);
        pin(self.pids[HOG], HELD);
        let parameters = libc::sched_param { sched_priority: 1 };
        // SAFETY: the parameters are read.
        let fifo =
            unsafe { libc::sched_setscheduler(self.pids[HOG], libc::SCHED_FIFO, &raw const parameters) };
        assert_eq!(fifo, 0, "sched_setscheduler: {}", io::Error::last_os_error());
        self.settle();
        self.held[target] = true;
        self.shared().spin.store(1, Ordering::Relaxed);
        self.post(HOG, Job::Other, SPIN, &[]);
        while self.shared().spinning.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
    }

    fn release(&mut self, target: usize) {
        self.held[target] = false;
        self.shared().spin.store(0, Ordering::Release);
        self.wait(HOG);
        self.jobs[HOG] = None;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for pid in self.pids.into_iter().filter(|pid| *pid != 0) {
            // SAFETY: a child of ours that nobody has waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
        }
    }
}

/// Where in an actor's memory so many bytes are put.
fn offset(place: Place, len: usize) -> usize {
    if place == Place::Cut { MEMORY - len } else { 0 }
}

/// Makes a forked process an actor: the three first descriptors, handlers, an end.
fn prepare() {
    // SAFETY: descriptors of the child only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    // SAFETY: it concerns the child only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
    // SAFETY: the limit is read.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    for (signal, flags) in [(libc::SIGUSR1, 0), (libc::SIGUSR2, libc::SA_RESTART)] {
        // SAFETY: a structure of numbers, for which 0 is a value.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = flags;
        // SAFETY: the handler has this signature and does nothing.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

extern "C" fn on_signal(_: c_int) {}

/// Makes the calls that it is told to, for ever.
fn serve(shared: &Shared, mut me: usize) -> ! {
    // SAFETY: it concerns this process only.
    unsafe { libc::alarm(SECONDS) };
    let mut last = 0;
    loop {
        let slot = &shared.slots[me];
        let command = slot.command.load(Ordering::Acquire);
        if command == last {
            futex(libc::FUTEX_WAIT, &slot.command, last);
            continue;
        }
        last = command;
        let args = [0, 1, 2, 3, 4, 5].map(|i| slot.args[i].load(Ordering::Relaxed));
        let nr = slot.nr.load(Ordering::Relaxed);
        let value = match nr {
            FORK => call(libc::SYS_clone, [args[0], 0, 0, 0, 0, 0]),
            SPIN => {
                shared.spinning.store(1, Ordering::Release);
                while shared.spin.load(Ordering::Acquire) != 0 {
                    hint::spin_loop();
                }
                shared.spinning.store(0, Ordering::Relaxed);
                0
            }
            _ => call(nr, args),
        };
        if nr == FORK && value == 0 {
            (me, last) = (args[1] as usize, 0);
            // SAFETY: it concerns this process only.
            unsafe { libc::alarm(SECONDS) };
            continue;
        }
        slot.value.store(value, Ordering::Relaxed);
        slot.done.store(command, Ordering::Release);
    }
}

fn call(nr: c_long, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the cases' calls change their own process, and memory that they are given.
    let value = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    // Making such an error neither allocates nor locks.
    if value == -1 { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { value }
}

fn futex(op: c_int, word: &AtomicU32, value: u32) {
    let timeout = ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call, which only reads it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, value, timeout) };
}

fn pin(pid: i32, processor: usize) {
    // SAFETY: a structure of numbers, for which 0 is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the processor is less than the set can say.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: the set is read.
    let pinned = unsafe { libc::sched_setaffinity(pid, size_of_val(&set), &raw const set) };
    assert_eq!(pinned, 0, "sched_setaffinity: {}", io::Error::last_os_error());
}

/// A process's state, and how often it has slept or was interrupted.
fn state(pid: i32) -> (char, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("", str::trim)
    };
    let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
    let switches = switches.map(|name| field(name).parse::<u64>().unwrap_or(0));
    (field("State:").chars().next().unwrap_or('Z'), switches.iter().sum())
}

/// A [`Shared`] of its own pages.
struct Mapping(NonNull<Shared>);

impl Mapping {
    fn new() -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, where the kernel has room.
        let base = unsafe { libc::mmap(ptr::null_mut(), size_of::<Shared>(), protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        let mapping = Self(NonNull::new(base.cast()).expect("nothing is mapped at 0"));
        for memory in &mapping.shared().memories {
            for (page, protection) in [(&memory.guard, libc::PROT_NONE), (&memory.read_only, libc::PROT_READ)]
            {
                let page = page.as_ptr().cast_mut().cast();
                // SAFETY: a page of this mapping, which nobody uses but the kernel on an actor's behalf.
                let answer = unsafe { libc::mprotect(page, 4096, protection) };
                assert_eq!(answer, 0, "mprotect: {}", io::Error::last_os_error());
            }
        }
        mapping
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the mapping has this size and alignment, is zero at first, which is a value of every atomic,
        // and all that anybody does with it is atomic.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no borrow of it is left.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}
