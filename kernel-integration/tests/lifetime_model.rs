//! Every interleaving of threads that evaluate, take on filters, give them to each other, are born, end and die,
//! up to a number of preemptions that `SECCOMP_LIFETIME_PREEMPTIONS` sets.
//!
//! What is checked is the library's own source: its files are modules here too, over a [`sync`] of loom's. The
//! kernel around it is what an embedder would write, threads behind the lock of their group.
//!
//! Each filter has a listener, its [`Card`]. By it the model knows whether a filter that somebody holds was made
//! before in every order of events that the memory model has, is still there, and was told once, and in time,
//! that its threads are gone.

#![expect(dead_code, reason = "the library's files have more than is needed here")]

extern crate alloc;

#[path = "../src/action.rs"]
mod action;
#[path = "../src/audit.rs"]
mod audit;
#[path = "../src/decided.rs"]
mod decided;
#[path = "../src/denials.rs"]
mod denials;
#[path = "../src/enter.rs"]
mod enter;
#[path = "../src/evaluate.rs"]
mod evaluate;
#[path = "../src/extension.rs"]
mod extension;
#[path = "../src/filter.rs"]
mod filter;
#[path = "../src/install.rs"]
mod install;
#[path = "../src/kernel.rs"]
mod kernel;
#[path = "../src/leaf.rs"]
mod leaf;
#[path = "../src/program.rs"]
mod program;
#[path = "../src/state.rs"]
mod state;
#[path = "../src/storage.rs"]
mod storage;
#[path = "../src/syscall.rs"]
mod syscall;
#[path = "../src/tsync.rs"]
mod tsync;
#[path = "../src/uapi.rs"]
mod uapi;

mod arch {
    pub use seccomp_kernel::Arch;
}

/// Of the rest, nothing is shared by threads.
use seccomp_kernel::notify;

/// What the library shares memory by, as loom has it.
mod sync {
    pub use loom::sync::atomic::{AtomicU32, Ordering};

    use std::ops::Deref;

    use loom::sync::atomic;

    pub type AtomicBool = Seen<atomic::AtomicBool>;
    pub type AtomicPtr<T> = Seen<atomic::AtomicPtr<T>>;
    pub type AtomicU8 = Seen<atomic::AtomicU8>;

    /// An atomic whose every access is tried before and after every other one.
    ///
    /// loom tries a store before another thread's load only if that was the last access, but who is to store has
    /// often looked before. The count orders nothing that the program does not.
    #[derive(Debug, Default)]
    pub struct Seen<A> {
        accesses: AtomicU32,
        atomic: A,
    }

    impl<A> Seen<A> {
        #[track_caller]
        pub fn new<T>(value: T) -> Self
        where
            A: From<T>,
        {
            Self { accesses: AtomicU32::new(0), atomic: value.into() }
        }
    }

    impl<A> Deref for Seen<A> {
        type Target = A;

        #[track_caller]
        fn deref(&self) -> &A {
            self.accesses.fetch_add(1, Ordering::Relaxed);
            &self.atomic
        }
    }

    /// loom's, with what the library uses of the standard one.
    #[derive(Debug)]
    pub struct Arc<T: ?Sized>(loom::sync::Arc<T>);

    impl<T> Arc<T> {
        #[track_caller]
        pub fn new(value: T) -> Self {
            Self(loom::sync::Arc::new(value))
        }

        /// That it takes two steps shows to nobody: a value is dropped by the last of those who have it, or is
        /// the result of one.
        #[track_caller]
        pub fn into_inner(this: Self) -> Option<T> {
            loom::sync::Arc::try_unwrap(this.0).ok()
        }

        #[track_caller]
        pub fn get_mut(this: &mut Self) -> Option<&mut T> {
            loom::sync::Arc::get_mut(&mut this.0)
        }

        pub fn into_raw(this: Self) -> *const T {
            loom::sync::Arc::into_raw(this.0)
        }

        /// # Safety
        ///
        /// As for the standard one. loom panics unless one is alive there.
        #[track_caller]
        pub unsafe fn from_raw(value: *const T) -> Self {
            // SAFETY: the caller's.
            Self(unsafe { loom::sync::Arc::from_raw(value) })
        }

        /// # Safety
        ///
        /// As for the standard one. loom panics unless one is alive there.
        #[track_caller]
        pub unsafe fn increment_strong_count(value: *const T) {
            // SAFETY: the caller's.
            unsafe { loom::sync::Arc::increment_strong_count(value) }
        }
    }

    impl<T: ?Sized> Arc<T> {
        #[track_caller]
        pub fn from_std(value: std::sync::Arc<T>) -> Self {
            Self(loom::sync::Arc::from_std(value))
        }
    }

    impl<T: ?Sized> Clone for Arc<T> {
        #[track_caller]
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T: ?Sized> Deref for Arc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}

use std::env;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread::{self, JoinHandle};
use seccomp_kernel::runtime::translator::{SockFilter, check as check_program};
use seccomp_kernel::runtime::{EngineKind, ExecMemory, Loaded, NoExecMemory, SeccompData};

use self::arch::Arch;
use self::evaluate::{Pass, Verdict, evaluate};
use self::filter::{Detached, Filter, Settings};
use self::install::{Installed, attach};
use self::kernel::{
    Fault, GroupLock, Interrupted, Kernel, Listener, ListenerError, NewListener, ThreadGroup,
};
use self::leaf::Leaf;
use self::program::Program;
use self::state::{Mode, ThreadState};
use self::uapi::FilterFlags;

/// The two calls that filters deny, and the one that kills.
const DENIED: [u32; 2] = [0, 1];
const KILLED: u32 = 2;

const NONE: FilterFlags = FilterFlags::empty();
const TSYNC: FilterFlags = FilterFlags::TSYNC;

/// What the model knows of a filter.
struct Card {
    /// The call that the filter denies, or kills.
    nr: u32,
    world: Weak<World>,
    /// Written by who makes the filter and, in the end, by who tells that its threads are gone; read by its
    /// threads meanwhile.
    contents: UnsafeCell<()>,
    installed: AtomicBool,
    told: AtomicU32,
    freed: AtomicBool,
}

// SAFETY: there is nothing in the cell; loom is told of accesses, and says which of them would race.
unsafe impl Sync for Card {}

/// The listener of a filter. It is not open, so that filters with one can be put on top of each other.
struct Told(std::sync::Arc<Card>);

impl Card {
    /// The filter's.
    fn of(filter: &Filter) -> std::sync::Arc<Self> {
        let listener = filter.listener().expect("every filter has one");
        let card = &listener.downcast_ref::<Told>().expect("ours").0;
        assert!(!card.freed.load(SeqCst), "filter {} is no more", card.nr);
        card.clone()
    }

    /// A thread runs the filter.
    fn run(&self) {
        self.contents.with(|_| ());
        assert!(!self.freed.load(SeqCst), "filter {} is no more", self.nr);
    }
}

impl Listener for Told {
    fn is_open(&self) -> bool {
        false
    }

    fn users_gone(&self) {
        let card = &self.0;
        assert_eq!(card.told.fetch_add(1, SeqCst), 0, "filter {} is told twice", card.nr);
        // Whatever its threads did with it has been done, also in the order of events that has no locks.
        card.contents.with_mut(|_| ());
        // Not under a group's lock, or this never ends.
        for group in &card.world.upgrade().expect("threads end first").groups {
            for thread in group.lock().unwrap().iter().filter(|thread| !thread.ended.load(SeqCst)) {
                let using = filters(&thread.seccomp).any(|filter| Card::of(filter).nr == card.nr);
                assert!(!using, "filter {} is told while {} has it", card.nr, thread.tid);
            }
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.freed.store(true, SeqCst);
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener of {}", self.0.nr)
    }
}

/// Two processes.
struct World {
    groups: [Mutex<Vec<Arc<Thread>>>; 2],
    cards: std::sync::Mutex<Vec<std::sync::Arc<Card>>>,
    /// Whether threads that have ended stay in their group, until they are reaped.
    keeps_zombies: bool,
}

struct Thread {
    seccomp: ThreadState,
    group: usize,
    tid: i32,
    ended: AtomicBool,
}

impl kernel::Thread for Thread {
    fn seccomp(&self) -> &ThreadState {
        &self.seccomp
    }

    fn tid(&self) -> i32 {
        self.tid
    }

    fn no_new_privs(&self) -> bool {
        true
    }

    fn set_no_new_privs(&self) {}
}

impl World {
    fn new(keeps_zombies: bool) -> std::sync::Arc<Self> {
        let groups = [(), ()].map(|()| Mutex::default());
        std::sync::Arc::new(Self { groups, cards: Default::default(), keeps_zombies })
    }

    /// A new thread, of the same process or as another.
    fn spawn(&self, parent: &Thread, group: usize, tid: i32) -> Arc<Thread> {
        let mut threads = self.groups[parent.group].lock().unwrap();
        let child = Thread::new(parent.seccomp.inherit(), group, tid);
        if group == parent.group {
            threads.push(child.clone());
        } else {
            // Nobody has seen this process yet.
            self.groups[group].lock().unwrap().push(child.clone());
        }
        child
    }

    /// The thread ends.
    fn exit(&self, thread: &Thread) {
        let mut threads = self.groups[thread.group].lock().unwrap();
        let left = thread.seccomp.exit();
        thread.ended.store(true, SeqCst);
        let zombie = (!self.keeps_zombies)
            .then(|| threads.iter().position(|other| other.tid == thread.tid))
            .flatten()
            .map(|at| threads.swap_remove(at));
        drop(threads);
        drop(left);
        drop(zombie);
    }

    fn install(self: &std::sync::Arc<Self>, thread: &Thread, flags: FilterFlags, nr: u32) -> Installed {
        let action = if nr == KILLED { 0 } else { 0x0005_0001 };
        let caller = Caller { world: self, thread, nr };
        attach(&caller, checked(nr, action), flags | FilterFlags::NEW_LISTENER).expect("a filter can be had")
    }

    /// Ends every thread that is left. All that there was is gone then, and all was told.
    fn end(&self) {
        for group in &self.groups {
            let threads: Vec<_> = group.lock().unwrap().clone();
            for thread in threads.iter().filter(|thread| !thread.ended.load(SeqCst)) {
                self.exit(thread);
            }
            let zombies = std::mem::take(&mut *group.lock().unwrap());
            drop(zombies);
        }
    }

    /// How often each filter was told that its threads are gone.
    fn told(&self, expected: &[u32]) {
        let told: Vec<_> = self.cards.lock().unwrap().iter().map(|card| card.told.load(SeqCst)).collect();
        assert_eq!(told, expected);
    }

    /// A filter that is on no thread.
    fn filter(self: &std::sync::Arc<Self>, nr: u32, parent: Option<sync::Arc<Filter>>) -> sync::Arc<Filter> {
        let listener: std::sync::Arc<dyn Listener> = std::sync::Arc::new(Told(self.card(nr)));
        let listener = Some(sync::Arc::from_std(listener));
        let program = Loaded::load(checked(nr, 0), EngineKind::Native, &NoExecMemory).expect("memory");
        let program = Program::Classic(program);
        let mut node = Detached::new(program, Settings { listener, ..Settings::default() }).expect("memory");
        node.attach(parent).expect("room")
    }

    /// What holds in the end, of filters that nobody holds any more.
    fn ended(&self) {
        for card in self.cards.lock().unwrap().iter() {
            let told = u32::from(card.installed.load(SeqCst));
            assert_eq!(card.told.load(SeqCst), told, "how often filter {} was told", card.nr);
            assert!(card.freed.load(SeqCst), "filter {} stays", card.nr);
        }
    }

    fn card(self: &std::sync::Arc<Self>, nr: u32) -> std::sync::Arc<Card> {
        let card = std::sync::Arc::new(Card {
            nr,
            world: std::sync::Arc::downgrade(self),
            contents: UnsafeCell::new(()),
            installed: AtomicBool::new(false),
            told: AtomicU32::new(0),
            freed: AtomicBool::new(false),
        });
        card.contents.with_mut(|_| ());
        self.cards.lock().unwrap().push(card.clone());
        card
    }
}

impl Thread {
    fn new(seccomp: ThreadState, group: usize, tid: i32) -> Arc<Self> {
        Arc::new(Self { seccomp, group, tid, ended: AtomicBool::new(false) })
    }

    /// What the thread is denied now, as it finds out by making calls. What it was denied `before`, it must be.
    fn look(&self, before: u32) -> u32 {
        // Held while others give the thread more.
        let held = self.seccomp.filter();
        if self.seccomp.mode() == Mode::Filter {
            assert!(self.seccomp.filter().is_some(), "filter mode without a filter");
        }
        let mut denied = before;
        for nr in DENIED {
            let data = SeccompData { nr: nr.cast_signed(), ..SeccompData::default() };
            match evaluate(&self.seccomp, &data, Pass::Entry, Default::default(), None).verdict {
                Verdict::Proceed => assert_eq!(denied & 1 << nr, 0, "call {nr} was denied before"),
                Verdict::Return(-1) => denied |= 1 << nr,
                other => panic!("no filter says {other:?}"),
            }
        }
        for filter in held.into_iter().chain(self.seccomp.filter()).flat_map(Filter::newest_first) {
            Card::of(filter).run();
        }
        denied
    }
}

fn filters(state: &ThreadState) -> impl Iterator<Item = &Filter> {
    state.filter().into_iter().flat_map(Filter::newest_first)
}

/// The calls that the thread's filters are about, the newest first.
fn numbers(thread: &Thread) -> Vec<u32> {
    filters(&thread.seccomp).map(|filter| Card::of(filter).nr).collect()
}

/// A program against one call.
fn checked(nr: u32, action: u32) -> seccomp_kernel::runtime::translator::Checked {
    let program = [
        SockFilter::new(0x20, 0, 0, 0),
        SockFilter::new(0x15, 0, 1, nr),
        SockFilter::new(0x06, 0, 0, action),
        SockFilter::new(0x06, 0, 0, 0x7fff_0000),
    ];
    check_program(program.to_vec()).expect("a program")
}

/// A thread that is in seccomp(2), about to install a filter against `nr`.
struct Caller<'w> {
    world: &'w std::sync::Arc<World>,
    thread: &'w Thread,
    nr: u32,
}

struct Group<'w> {
    threads: MutexGuard<'w, Vec<Arc<Thread>>>,
    caller: i32,
}

impl ThreadGroup for Group<'_> {
    type Thread = Thread;

    fn for_each_sibling(&self, f: &mut dyn FnMut(&Thread) -> ControlFlow<()>) {
        let mut siblings = self.threads.iter().filter(|thread| thread.tid != self.caller);
        let _ = siblings.try_for_each(|thread| f(thread));
    }
}

struct New(std::sync::Arc<Card>, sync::Arc<dyn Listener>);

impl NewListener for New {
    fn listener(&self) -> sync::Arc<dyn Listener> {
        self.1.clone()
    }

    fn publish(self) -> i32 {
        self.0.installed.store(true, SeqCst);
        0
    }
}

impl<'w> Kernel for Caller<'w> {
    type Thread = Thread;
    type Group = Group<'w>;
    type NewListener = New;

    fn current(&self) -> &Thread {
        self.thread
    }

    fn read_user(&self, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn write_user(&self, _: u64, _: &[u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn may_install(&self) -> bool {
        true
    }

    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Group<'w>) -> R) -> Result<R, Interrupted> {
        let threads = self.world.groups[self.thread.group].lock().unwrap();
        Ok(f(&Group { threads, caller: self.thread.tid }))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &NoExecMemory
    }

    fn engine(&self) -> EngineKind {
        EngineKind::Native
    }

    fn planned_entries(&self) -> &[Arch] {
        &[]
    }

    fn new_listener(&self, _: bool) -> Result<New, ListenerError> {
        let card = self.world.card(self.nr);
        let listener: std::sync::Arc<dyn Listener> = std::sync::Arc::new(Told(card.clone()));
        Ok(New(card, sync::Arc::from_std(listener)))
    }
}

/// A process with two threads.
struct Two {
    world: std::sync::Arc<World>,
    a: Arc<Thread>,
    b: Arc<Thread>,
}

impl Two {
    /// Runs `f` with the second thread, as that thread.
    fn as_b<R: 'static>(
        &self,
        f: impl FnOnce(&std::sync::Arc<World>, &Thread) -> R + 'static,
    ) -> JoinHandle<R> {
        let (world, b) = (self.world.clone(), self.b.clone());
        thread::spawn(move || f(&world, &b))
    }

    /// `flags` of A, with a filter against `nr`.
    fn install(&self, flags: FilterFlags, nr: u32) -> Installed {
        self.world.install(&self.a, flags, nr)
    }
}

/// Runs `case` in every interleaving, on a process with two threads, and then ends all that is left.
fn check(case: impl Fn(&Two) + Send + Sync + 'static) {
    check_with(false, case);
}

fn check_with(keeps_zombies: bool, case: impl Fn(&Two) + Send + Sync + 'static) {
    explore(move || {
        let world = World::new(keeps_zombies);
        let [a, b] = [1, 2].map(|tid| Thread::new(ThreadState::new(), 0, tid));
        world.groups[0].lock().unwrap().extend([a.clone(), b.clone()]);
        let two = Two { world, a, b };
        case(&two);
        let Two { world, a, b } = two;
        drop((a, b));
        world.end();
        world.ended();
    });
}

fn explore(case: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    let preemptions = env::var("SECCOMP_LIFETIME_PREEMPTIONS").map_or(2, |n| n.parse().expect("a number"));
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = executions.clone();
    model.check(move || {
        counted.fetch_add(1, SeqCst);
        case();
    });
    println!("{}: {} executions", std::thread::current().name().unwrap_or_default(), executions.load(SeqCst));
}

#[test]
fn evaluation_finds_what_tsync_gives_and_keeps_what_it_had() {
    check(|two| {
        let b = two.as_b(|_, b| {
            let denied = b.look(0);
            b.look(denied)
        });
        assert_eq!(two.install(TSYNC, 0), Installed::Listener(0));
        assert_eq!(two.install(TSYNC, 1), Installed::Listener(0));
        let denied = b.join().unwrap();
        assert_eq!(two.b.look(denied), 0b11);
    });
}

#[test]
fn a_thread_that_is_born_has_its_parents_filters_and_those_of_tsync() {
    check(|two| {
        two.install(TSYNC, 0);
        let b = two.as_b(|world, b| {
            let child = world.spawn(b, 0, 3);
            child.look(1);
            child
        });
        assert_eq!(two.install(TSYNC, 1), Installed::Listener(0));
        let child = b.join().unwrap();
        for thread in [&two.a, &two.b, &child] {
            assert_eq!(numbers(thread), [1, 0]);
            thread.look(0b11);
        }
    });
}

#[test]
fn a_thread_that_is_born_without_a_filter_is_not_missed() {
    check(|two| {
        let b = two.as_b(|world, b| {
            let child = world.spawn(b, 0, 3);
            let denied = child.look(0);
            child.look(denied);
            child
        });
        assert_eq!(two.install(TSYNC, 0), Installed::Listener(0));
        assert_eq!(b.join().unwrap().look(1), 1);
    });
}

#[test]
fn of_two_tsyncs_both_reach_everybody() {
    check(|two| {
        let b = two.as_b(|world, b| {
            let installed = world.install(b, TSYNC, 1);
            b.look(0b10);
            installed
        });
        assert_eq!(two.install(TSYNC, 0), Installed::Listener(0));
        two.a.look(1);
        assert_eq!(b.join().unwrap(), Installed::Listener(0));
        assert_eq!(numbers(&two.a), numbers(&two.b));
        assert_eq!(numbers(&two.a).len(), 2);
    });
}

#[test]
fn tsync_and_a_filter_of_another_thread_are_in_one_order() {
    for shared in [&[][..], &[KILLED]] {
        check(move |two| {
            for nr in shared {
                two.install(TSYNC, *nr);
            }
            let b = two.as_b(|world, b| {
                assert_eq!(world.install(b, NONE, 1), Installed::Listener(0));
                b.look(0b10);
            });
            let installed = two.install(TSYNC, 0);
            b.join().unwrap();
            let (a, b) = match installed {
                Installed::Diverged(2) => (&[][..], &[1][..]),
                _ => (&[0][..], &[1, 0][..]),
            };
            assert_eq!(numbers(&two.a), [a, shared].concat());
            assert_eq!(numbers(&two.b), [b, shared].concat());
        });
    }
}

#[test]
fn tsync_and_strict_mode_are_in_one_order() {
    check(|two| {
        let b =
            two.as_b(|world, b| syscall::seccomp(&Caller { world, thread: b, nr: 0 }, Arch::X86_64, 0, 0, 0));
        let installed = two.install(TSYNC, 0);
        match (b.join().unwrap(), installed) {
            (Ok(0), Installed::Diverged(2)) => {
                assert_eq!((two.b.seccomp.mode(), numbers(&two.b)), (Mode::Strict, vec![]));
            }
            (Err(_), Installed::Listener(0)) => {
                assert_eq!((two.b.seccomp.mode(), numbers(&two.b)), (Mode::Filter, vec![0]));
            }
            ends => panic!("{ends:?}"),
        }
    });
}

#[test]
fn a_dead_thread_stays_dead() {
    check(|two| {
        two.install(TSYNC, KILLED);
        let b = two.as_b(|_, b| {
            let data = SeccompData { nr: KILLED.cast_signed(), ..SeccompData::default() };
            let verdict = evaluate(&b.seccomp, &data, Pass::Entry, Default::default(), None).verdict;
            assert!(matches!(verdict, Verdict::KillThread(_)), "{verdict:?}");
            assert_eq!(b.seccomp.mode(), Mode::Dead);
        });
        let installed = two.install(TSYNC, 0);
        assert!(matches!(installed, Installed::Listener(0) | Installed::Diverged(2)), "{installed:?}");
        b.join().unwrap();
        assert_eq!(two.b.seccomp.mode(), Mode::Dead);
    });
}

#[test]
fn the_last_of_two_threads_tells() {
    check(|two| {
        two.install(TSYNC, 0);
        let b = two.as_b(|world, b| {
            b.look(1);
            world.exit(b);
        });
        two.a.look(1);
        two.world.exit(&two.a);
        b.join().unwrap();
        two.world.told(&[1]);
    });
}

#[test]
fn the_last_of_two_processes_tells() {
    check(|two| {
        two.install(NONE, 0);
        let child = two.world.spawn(&two.a, 1, 1);
        let world = two.world.clone();
        let process = thread::spawn(move || {
            child.look(1);
            world.exit(&child);
        });
        two.install(NONE, 1);
        two.a.look(0b11);
        two.world.exit(&two.a);
        process.join().unwrap();
        two.world.told(&[1, 1]);
    });
}

#[test]
fn a_process_that_takes_on_a_filter_keeps_those_it_shares_in_use() {
    check(|two| {
        two.install(NONE, 0);
        let child = two.world.spawn(&two.a, 1, 1);
        let (world, thread) = (two.world.clone(), child.clone());
        let process = thread::spawn(move || {
            world.install(&thread, TSYNC, 1);
            thread.look(0b11);
        });
        two.world.exit(&two.a);
        process.join().unwrap();
        two.world.told(&[0, 0]);
        assert_eq!(numbers(&child), [1, 0]);
    });
}

#[test]
fn a_thread_that_ends_gets_no_filter_and_is_counted_once() {
    for keeps_zombies in [false, true] {
        check_with(keeps_zombies, |two| {
            two.install(TSYNC, 0);
            let b = two.as_b(|world, b| world.exit(b));
            assert_eq!(two.install(TSYNC, 1), Installed::Listener(0));
            two.world.told(&[0, 0]);
            two.world.exit(&two.a);
            b.join().unwrap();
            two.world.told(&[1, 1]);
            // What it had last, it keeps until it is reaped.
            assert!(matches!(numbers(&two.b)[..], [0] | [1, 0]));
        });
    }
}

#[test]
fn a_thread_that_ends_while_one_is_born_leaves_it_its_filters() {
    check(|two| {
        two.install(TSYNC, 0);
        let b = two.as_b(|world, b| {
            let child = world.spawn(b, 0, 3);
            world.exit(b);
            child.look(1);
        });
        two.world.exit(&two.a);
        b.join().unwrap();
        two.world.told(&[0]);
    });
}

#[test]
fn a_thread_that_was_never_born_leaves_its_filters() {
    check(|two| {
        two.install(TSYNC, 0);
        let b = two.as_b(|world, b| {
            let threads = world.groups[0].lock().unwrap();
            let child = b.seccomp.inherit();
            drop(threads);
            world.exit(b);
            drop(child);
        });
        two.world.exit(&two.a);
        b.join().unwrap();
        two.world.told(&[1]);
    });
}

#[test]
fn the_filters_of_a_zombie_are_there() {
    check(|two| {
        two.install(TSYNC, 0);
        two.install(TSYNC, 1);
        let b = two.as_b(|world, b| world.exit(b));
        two.world.exit(&two.a);
        assert_eq!(numbers(&two.b), [1, 0], "a debugger reads them");
        b.join().unwrap();
        two.world.told(&[1, 1]);
    });
}

#[test]
fn a_state_is_left_once() {
    check(|two| {
        two.install(TSYNC, 0);
        let b = two.as_b(|_, b| drop(b.seccomp.exit()));
        drop(two.b.seccomp.exit());
        b.join().unwrap();
        two.b.ended.store(true, SeqCst);
        two.world.told(&[0]);
    });
}

/// The leaf alone, which asks for no lock.
#[test]
fn a_leaf_grows_only_to_descendants() {
    explore(|| {
        let world = World::new(false);
        let leaf = Arc::new(Leaf::default());
        let grower = {
            let (world, leaf) = (world.clone(), leaf.clone());
            thread::spawn(move || leaf.grow(world.filter(1, None)).is_ok())
        };
        let reader = {
            let leaf = leaf.clone();
            thread::spawn(move || {
                let first = leaf.load();
                let second = leaf.share();
                for filter in first.into_iter().chain(second.as_deref()).flat_map(Filter::newest_first) {
                    Card::of(filter).run();
                }
                if let Some(first) = first {
                    assert!(second.expect("it does not go").descends_from(first));
                }
            })
        };
        let first = world.filter(0, None);
        let second = world.filter(2, Some(first.clone()));
        let grown = [first, second].map(|filter| leaf.grow(filter).is_ok());
        let other = grower.join().unwrap();
        assert!(grown[1] != other && (grown[1] || !grown[0]), "{grown:?} {other}");
        reader.join().unwrap();
        drop(leaf);
        world.ended();
    });
}
