//! Descriptors, and the files that they lead to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use seccomp_kernel::notify::FdPlace;
use syscalls::Errno;

use super::listener::Listener;

/// RLIMIT_NOFILE of a new process.
pub const LIMIT: u32 = 1024;

/// An open file.
#[derive(Clone, Debug)]
pub enum File {
    /// One that does nothing.
    Plain,
    /// A filter's listener.
    Listener(Arc<Opened>),
}

/// A listener that is open; it is closed with the last reference to this.
#[derive(Debug)]
pub struct Opened(pub Listener);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The descriptors of a process, or of several.
#[derive(Debug)]
pub struct Descriptors(Mutex<Table>);

#[derive(Clone, Debug)]
struct Table {
    descriptors: BTreeMap<u32, Descriptor>,
    limit: u32,
}

#[derive(Clone, Debug)]
struct Descriptor {
    /// `None` while the number is taken and leads nowhere.
    file: Option<File>,
    close_on_exec: bool,
}

impl Default for Descriptors {
    /// The three that a process begins with.
    fn default() -> Self {
        let plain = || Descriptor { file: Some(File::Plain), close_on_exec: false };
        let descriptors = (0..3).map(|fd| (fd, plain())).collect();
        Self(Mutex::new(Table { descriptors, limit: LIMIT }))
    }
}

impl Table {
    fn lowest_free(&self) -> Result<u32, Errno> {
        (0..self.limit).find(|fd| !self.descriptors.contains_key(fd)).ok_or(Errno::EMFILE)
    }
}

impl Descriptors {
    /// Those of a new process.
    pub fn copy(&self) -> Self {
        Self(Mutex::new(self.table().clone()))
    }

    /// Closes those that close on exec.
    pub fn exec(&self) {
        let closed: Vec<u32> = self.numbers(|descriptor| descriptor.close_on_exec);
        for fd in closed {
            self.close(fd);
        }
    }

    /// Takes the lowest free number (`get_unused_fd_flags`).
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn reserve(&self) -> Result<u32, Errno> {
        let mut table = self.table();
        let fd = table.lowest_free()?;
        table.descriptors.insert(fd, Descriptor { file: None, close_on_exec: true });
        Ok(fd)
    }

    /// Opens `file` at the lowest free number, or at that of `at` in place of what is there (`receive_fd`).
    ///
    /// # Errors
    ///
    /// EMFILE, or EBADF for a number beyond the limit.
    pub fn install(&self, at: FdPlace, file: File) -> Result<u32, Errno> {
        let mut table = self.table();
        let fd = match at.newfd {
            Some(fd) if fd >= table.limit => return Err(Errno::EBADF),
            Some(fd) => fd,
            None => table.lowest_free()?,
        };
        let new = Descriptor { file: Some(file), close_on_exec: at.close_on_exec };
        let old = table.descriptors.insert(fd, new);
        drop(table);
        drop(old);
        Ok(fd)
    }

    /// Lets a number that was taken lead to `file`.
    pub fn publish(&self, fd: u32, file: File) {
        self.table().descriptors.insert(fd, Descriptor { file: Some(file), close_on_exec: true });
    }

    /// Frees a number. Whether it was in use.
    pub fn close(&self, fd: u32) -> bool {
        // The file is dropped when the table is free again.
        let old = self.table().descriptors.remove(&fd);
        old.is_some()
    }

    /// What a descriptor leads to.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub fn get(&self, fd: u32) -> Result<File, Errno> {
        let file = self.table().descriptors.get(&fd).and_then(|descriptor| descriptor.file.clone());
        file.ok_or(Errno::EBADF)
    }

    /// Whether a descriptor closes on exec.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub fn closes_on_exec(&self, fd: u32) -> Result<bool, Errno> {
        let table = self.table();
        table.descriptors.get(&fd).map(|descriptor| descriptor.close_on_exec).ok_or(Errno::EBADF)
    }

    /// The numbers in use.
    pub fn open(&self) -> Vec<u32> {
        self.numbers(|_| true)
    }

    /// Sets RLIMIT_NOFILE.
    pub fn set_limit(&self, limit: u32) {
        self.table().limit = limit;
    }

    fn numbers(&self, of: impl Fn(&Descriptor) -> bool) -> Vec<u32> {
        let table = self.table();
        table.descriptors.iter().filter(|(_, descriptor)| of(descriptor)).map(|(fd, _)| *fd).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no test panicked")
    }
}
