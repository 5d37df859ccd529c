//! A process: threads that share memory, files and signal handlers; from its birth to the parent that learns of its
//! end.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::sync::atomic::{AtomicU32, Ordering};

use spin::Mutex;

use crate::elf::{self, LoadError};
use crate::files::Files;
use crate::memory::{AddressSpace, OutOfMemory};
use crate::scheduler::{self, WaitQueue};
use crate::seccomp::Group;
use crate::signal::{Actions, Info, SIGCHLD};
use crate::thread::Thread;

/// How a process ended, as wait4(2) tells: the exit code times 256, or a signal.
pub type Status = i32;

/// A process.
pub struct Process {
    pub pid: i32,
    /// The user, 0 with all rights.
    pub uid: AtomicU32,
    /// Its live threads. This is the lock of [`seccomp_kernel::Kernel::with_group`].
    pub group: Mutex<Group>,
    pub actions: Mutex<Actions>,
    pub children: Mutex<Vec<Arc<Process>>>,
    /// A child has ended.
    pub child_ended: WaitQueue,
    space: Mutex<Option<Arc<AddressSpace>>>,
    files: Mutex<Arc<Files>>,
    parent: Mutex<Weak<Process>>,
    /// What all its threads are to end with.
    ending: Mutex<Option<Status>>,
    /// What it ended with.
    ended: Mutex<Option<Status>>,
}

/// All that their parents have not learned the end of.
static PROCESSES: Mutex<BTreeMap<i32, Weak<Process>>> = Mutex::new(BTreeMap::new());

impl Process {
    /// The process that runs `file`, without a parent.
    ///
    /// # Errors
    ///
    /// It cannot be loaded.
    pub fn run(file: &[u8], args: &[&str]) -> Result<Arc<Self>, LoadError> {
        let (space, context) = elf::load(file, args)?;
        let process = Self::new(Weak::new(), space, Files::new(), Actions::default(), 0);
        let thread = Thread::new(process.pid, Arc::clone(&process), Default::default(), context)?;
        process.add(Arc::new(thread));
        Ok(process)
    }

    fn new(
        parent: Weak<Self>,
        space: AddressSpace,
        files: Arc<Files>,
        actions: Actions,
        uid: u32,
    ) -> Arc<Self> {
        let process = Arc::new(Self {
            pid: Thread::next_id(),
            uid: AtomicU32::new(uid),
            group: Mutex::default(),
            actions: Mutex::new(actions),
            children: Mutex::default(),
            child_ended: WaitQueue::new(),
            space: Mutex::new(Some(Arc::new(space))),
            files: Mutex::new(files),
            parent: Mutex::new(parent),
            ending: Mutex::default(),
            ended: Mutex::default(),
        });
        PROCESSES.lock().insert(process.pid, Arc::downgrade(&process));
        process
    }

    /// A child without threads yet, with a copy of this one's memory.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn fork(self: &Arc<Self>, shares_files: bool) -> Result<Arc<Self>, OutOfMemory> {
        let space = self.space().ok_or(OutOfMemory)?.copy()?;
        let files = if shares_files { self.files() } else { self.files().copy() };
        let actions = self.actions.lock().clone();
        let child = Self::new(Arc::downgrade(self), space, files, actions, self.uid.load(Ordering::Relaxed));
        self.children.lock().push(Arc::clone(&child));
        Ok(child)
    }

    /// Undoes [`fork`](Self::fork) for a child that got no thread.
    pub fn disown(&self, child: &Self) {
        self.children.lock().retain(|other| other.pid != child.pid);
        child.forget();
    }

    /// Lets its first thread live.
    fn add(&self, thread: Arc<Thread>) {
        self.group.lock().threads.push(Arc::clone(&thread));
        scheduler::start(thread);
    }

    /// The process with this id.
    pub fn find(pid: i32) -> Option<Arc<Self>> {
        PROCESSES.lock().get(&pid)?.upgrade()
    }

    /// Its memory, as long as it has a thread.
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.space.lock().clone()
    }

    pub fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files.lock())
    }

    pub fn parent(&self) -> Option<Arc<Self>> {
        self.parent.lock().upgrade()
    }

    /// What it ended with, if it has.
    pub fn ended(&self) -> Option<Status> {
        *self.ended.lock()
    }

    /// What all its threads are to end with, if they are.
    pub fn ending(&self) -> Option<Status> {
        *self.ending.lock()
    }

    pub fn is_ending(&self) -> bool {
        self.ending().is_some()
    }

    /// Lets all its threads end, wherever they sleep. The first reason counts.
    pub fn end(&self, status: Status) {
        self.ending.lock().get_or_insert(status);
        // Threads wake each other, so not under the lock that they take when they end.
        let threads = self.group.lock().threads.clone();
        threads.iter().for_each(scheduler::make_ready);
    }

    /// Its last thread has left the group, and ended with `status`: that is what the process ends with, if nothing else
    /// has ended it.
    pub fn leave(self: &Arc<Self>, status: Status) {
        AddressSpace::leave();
        let space = self.space.lock().take();
        drop(space);
        // With the last of them, listeners close, and who waits for them wakes.
        let files = mem::replace(&mut *self.files.lock(), Files::none());
        drop(files);
        let orphans = mem::take(&mut *self.children.lock());
        for orphan in orphans {
            *orphan.parent.lock() = Weak::new();
            if orphan.ended().is_some() {
                orphan.forget();
            }
        }
        let status = self.ending().unwrap_or(status);
        *self.ended.lock() = Some(status);
        match self.parent() {
            Some(parent) => {
                parent.signal(SIGCHLD, Info::Child { pid: self.pid, status });
                parent.child_ended.wake_all();
            }
            None => self.forget(),
        }
    }

    /// Somebody has learned of its end, or nobody will.
    pub fn forget(&self) {
        let mut processes = PROCESSES.lock();
        processes.remove(&self.pid);
        if processes.is_empty() {
            // An empty map keeps memory.
            *processes = BTreeMap::new();
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}
