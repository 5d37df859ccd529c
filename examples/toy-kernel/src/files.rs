//! Descriptors and what they lead to.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use seccomp_kernel::notify::{FdPlace, Poll};
use spin::Mutex;
use syscalls::Errno;

use crate::console;
use crate::listener::OpenListener;
use crate::scheduler::{self, WaitQueue, Woken};

/// The most descriptors of a process.
const LIMIT: usize = 64;

/// The most bytes in a pipe.
const PIPE: usize = 4096;

/// What a descriptor leads to.
#[derive(Clone, Debug)]
pub enum File {
    Console,
    Reader(Arc<Reader>),
    Writer(Arc<Writer>),
    Listener(Arc<OpenListener>),
}

#[derive(Clone, Debug)]
enum Slot {
    Free,
    /// Taken for a listener that is not there yet.
    Reserved,
    Open(File),
}

/// The descriptors of a process, or of several.
#[derive(Debug)]
pub struct Files(Mutex<Vec<Slot>>);

impl Files {
    /// Those of a program at its beginning: the console.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((0..3).map(|_| Slot::Open(File::Console)).collect())))
    }

    /// None, for a process that has ended.
    pub fn none() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// The same files, for a fork.
    pub fn copy(&self) -> Arc<Self> {
        let copied = |slot: &Slot| match slot {
            Slot::Open(_) => slot.clone(),
            Slot::Free | Slot::Reserved => Slot::Free,
        };
        Arc::new(Self(Mutex::new(self.0.lock().iter().map(copied).collect())))
    }

    /// The file of a descriptor.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub fn get(&self, fd: u32) -> Result<File, Errno> {
        match self.0.lock().get(fd as usize) {
            Some(Slot::Open(file)) => Ok(file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// Takes the lowest free number.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn reserve(&self) -> Result<u32, Errno> {
        let mut slots = self.0.lock();
        let free = slots.iter().position(|slot| matches!(slot, Slot::Free)).unwrap_or(slots.len());
        put(&mut slots, free, Slot::Reserved).map(|_| free as u32)
    }

    /// Lets a number that was taken lead to `file`.
    pub fn publish(&self, fd: u32, file: File) {
        let old = self.0.lock().get_mut(fd as usize).map(|slot| core::mem::replace(slot, Slot::Open(file)));
        drop(old);
    }

    /// Gives a number that was taken back.
    pub fn release(&self, fd: u32) {
        if let Some(slot @ Slot::Reserved) = self.0.lock().get_mut(fd as usize) {
            *slot = Slot::Free;
        }
    }

    /// Puts a file at the lowest free number.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn open(&self, file: File) -> Result<u32, Errno> {
        let fd = self.reserve()?;
        self.publish(fd, file);
        Ok(fd)
    }

    /// Puts a file where a supervisor wants it.
    ///
    /// # Errors
    ///
    /// EMFILE, EBADF, EBUSY.
    pub fn install(&self, at: FdPlace, file: File) -> Result<u32, Errno> {
        let Some(fd) = at.newfd else { return self.open(file) };
        let old = {
            let mut slots = self.0.lock();
            if let Some(Slot::Reserved) = slots.get(fd as usize) {
                return Err(Errno::EBUSY);
            }
            put(&mut slots, fd as usize, Slot::Open(file)).map_err(|_| Errno::EBADF)?
        };
        drop(old);
        Ok(fd)
    }

    /// close(2).
    ///
    /// # Errors
    ///
    /// EBADF.
    pub fn close(&self, fd: u32) -> Result<(), Errno> {
        let file = match self.0.lock().get_mut(fd as usize) {
            Some(slot @ Slot::Open(_)) => core::mem::replace(slot, Slot::Free),
            _ => return Err(Errno::EBADF),
        };
        // The last of a listener wakes others, so the lock is free.
        drop(file);
        Ok(())
    }
}

/// Puts something at a number. What was there, to be dropped without the lock.
fn put(slots: &mut Vec<Slot>, fd: usize, slot: Slot) -> Result<Slot, Errno> {
    if fd >= LIMIT {
        return Err(Errno::EMFILE);
    }
    if fd >= slots.len() {
        slots.resize(fd + 1, Slot::Free);
    }
    Ok(core::mem::replace(&mut slots[fd], slot))
}

impl File {
    /// read(2): bytes, up to `len`, or a signal.
    ///
    /// # Errors
    ///
    /// `None` for a signal, else EINVAL or EBADF.
    pub fn read(&self, len: usize) -> Result<Vec<u8>, Option<Errno>> {
        match self {
            // Nobody types.
            Self::Console => Ok(Vec::new()),
            Self::Reader(reader) => reader.0.read(len).map_err(|_| None),
            Self::Writer(_) => Err(Some(Errno::EBADF)),
            Self::Listener(_) => Err(Some(Errno::EINVAL)),
        }
    }

    /// write(2): how many bytes.
    ///
    /// # Errors
    ///
    /// `None` for a signal, else EINVAL, EBADF or EPIPE.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Option<Errno>> {
        match self {
            Self::Console => {
                console::write(bytes);
                Ok(bytes.len())
            }
            Self::Writer(writer) => writer.0.write(bytes),
            Self::Reader(_) => Err(Some(Errno::EBADF)),
            Self::Listener(_) => Err(Some(Errno::EINVAL)),
        }
    }

    /// What poll(2) finds.
    pub fn poll(&self) -> Poll {
        match self {
            Self::Console => Poll::OUT,
            Self::Listener(open) => open.listener().poll(),
            Self::Reader(reader) => {
                let state = reader.0.state.lock();
                let mut poll = Poll::empty();
                poll.set(Poll::IN, !state.bytes.is_empty());
                poll.set(Poll::HUP, state.writers_gone);
                poll
            }
            Self::Writer(writer) => {
                let state = writer.0.state.lock();
                if state.bytes.len() < PIPE { Poll::OUT } else { Poll::empty() }
            }
        }
    }

    /// What wakes when poll(2) may find something else.
    pub fn changes(&self) -> Option<&WaitQueue> {
        match self {
            Self::Console => None,
            Self::Listener(open) => Some(open.listener().changes()),
            Self::Reader(reader) => Some(&reader.0.changed),
            Self::Writer(writer) => Some(&writer.0.changed),
        }
    }
}

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: WaitQueue,
}

#[derive(Debug, Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    readers_gone: bool,
    writers_gone: bool,
}

/// The end of a pipe that is read.
#[derive(Debug)]
pub struct Reader(Arc<Pipe>);

/// The end of a pipe that is written.
#[derive(Debug)]
pub struct Writer(Arc<Pipe>);

/// A pipe.
pub fn pipe() -> (File, File) {
    let pipe = Arc::new(Pipe::default());
    (File::Reader(Arc::new(Reader(Arc::clone(&pipe)))), File::Writer(Arc::new(Writer(pipe))))
}

impl Pipe {
    fn read(&self, len: usize) -> Result<Vec<u8>, Woken> {
        let read = scheduler::wait(&[&self.changed], None, || {
            let mut state = self.state.lock();
            let there = state.bytes.len();
            (there > 0 || state.writers_gone).then(|| state.bytes.drain(..len.min(there)).collect())
        })?;
        self.changed.wake_all();
        Ok(read)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Option<Errno>> {
        let written = scheduler::wait(&[&self.changed], None, || {
            let mut state = self.state.lock();
            if state.readers_gone {
                return Some(Err(Errno::EPIPE));
            }
            let room = PIPE - state.bytes.len();
            (room > 0 || bytes.is_empty()).then(|| {
                let now = bytes.len().min(room);
                state.bytes.extend(&bytes[..now]);
                Ok(now)
            })
        });
        self.changed.wake_all();
        written.map_err(|_| None)?.map_err(Some)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.state.lock().readers_gone = true;
        self.0.changed.wake_all();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.state.lock().writers_gone = true;
        self.0.changed.wake_all();
    }
}
