//! What is written about a call: by the kernel of this machine and by the library.
//!
//! The kernel's records come from its audit multicast group, which has those that printk's rate limit keeps out
//! of the kernel log. They can still be lost when many are written at once, so who misses one asks again.

#![expect(unsafe_code, reason = "system calls of the kind that the tests are about, in a forked child")]

use std::arch::asm;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, mem, ptr};

use cbpf_translator::SockFilter;
use libc::{pid_t, sock_fprog};
use seccomp_kernel::{AUDIT_SECCOMP, Arch, LogMask, Pass, Record, Thread, evaluate};
use seccomp_runtime::{EngineKind, SeccompData};

use crate::mock::{Faults, Process};

/// The file that says what is logged.
pub const ACTIONS_LOGGED: &str = "/proc/sys/kernel/seccomp/actions_logged";

/// A call that perhaps is logged.
#[derive(Clone, Debug)]
pub struct Event {
    /// The name of the thread that makes it.
    pub comm: Vec<u8>,
    /// The user and group that make it.
    pub ids: (u32, u32),
    /// The filter, and the flags that it is installed with. It allows the end of the process.
    pub filter: (u32, Vec<SockFilter>),
    /// The entry: [`Arch::X86_64`] or [`Arch::I386`].
    pub entry: Arch,
    /// The number.
    pub nr: i32,
}

/// A process that made a call.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Its id.
    pub pid: pid_t,
    instruction_pointer: u64,
}

/// The right to change [`ACTIONS_LOGGED`] and to rely on it, which one test has at a time. The old text is back
/// when this is dropped.
pub struct Sysctl {
    old: String,
    _lock: File,
}

impl Sysctl {
    /// Waits for the right, then logs everything.
    ///
    /// # Panics
    ///
    /// There is no such file, or it cannot be changed.
    pub fn lock() -> Self {
        let lock =
            File::create(env::temp_dir().join("seccomp-tests-actions-logged.lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let old = fs::read_to_string(ACTIONS_LOGGED).expect("the kernel has seccomp");
        let this = Self { old, _lock: lock };
        this.write(LogMask::all().to_string().as_bytes()).expect("we are root");
        this
    }

    /// One write(2) of `text` to the file.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        self.write_parts(&[text])
    }

    /// One write(2) for each of `parts`.
    ///
    /// # Errors
    ///
    /// The kernel's, or a part was not taken whole.
    pub fn write_parts(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = File::options().write(true).open(ACTIONS_LOGGED)?;
        for part in parts {
            if file.write(part)? != part.len() {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        self.write(self.old.as_bytes()).expect("what was read can be written");
    }
}

/// The kernel's audit records from now on.
pub struct Records(File);

/// A record that should be there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Records {
    /// Joins the multicast group.
    ///
    /// # Panics
    ///
    /// This process may not (CAP_AUDIT_READ).
    pub fn new() -> Self {
        const AUDIT_NLGRP_READLOG: u32 = 1;
        const BUFFER: libc::c_int = 1 << 24;
        // SAFETY: a new socket.
        let socket = unsafe {
            libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_AUDIT)
        };
        assert!(socket >= 0, "socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else has it.
        let file = unsafe { File::from_raw_fd(socket) };
        let set = |option, value: *const libc::c_void, len: usize| {
            // SAFETY: the kernel reads `len` bytes of a value that lives.
            let set = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, value, len as u32) };
            assert_eq!(set, 0, "setsockopt: {}", io::Error::last_os_error());
        };
        let timeout = libc::timeval { tv_sec: 0, tv_usec: 100_000 };
        set(libc::SO_RCVBUFFORCE, ptr::from_ref(&BUFFER).cast(), size_of_val(&BUFFER));
        set(libc::SO_RCVTIMEO, ptr::from_ref(&timeout).cast(), size_of_val(&timeout));
        // SAFETY: an address of zeros is one.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = AUDIT_NLGRP_READLOG;
        let len = size_of_val(&address) as u32;
        // SAFETY: the kernel reads an address that lives.
        let bound = unsafe { libc::bind(socket, ptr::from_ref(&address).cast(), len) };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        Self(file)
    }

    /// The text about a process's call, without the stamp; none if one about `later` comes first.
    ///
    /// # Errors
    ///
    /// For seconds neither came.
    pub fn of(&mut self, pid: pid_t, later: Option<pid_t>) -> Result<Option<String>, Lost> {
        const HEADER: usize = 16;
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut message = [0; 1 << 14];
        while Instant::now() < deadline {
            // Nothing for a while, or some were lost.
            let Ok(len) = self.0.read(&mut message) else { continue };
            let Some((header, text)) = message[..len].split_at_checked(HEADER) else { continue };
            if header[4..6] != AUDIT_SECCOMP.to_ne_bytes() {
                continue;
            }
            let text = String::from_utf8_lossy(text);
            let (_, text) = text.split_once("): ").expect("a stamp");
            let text = text.trim_end_matches('\0');
            let about = |pid: pid_t| text.contains(&format!(" pid={pid} "));
            if about(pid) {
                return Ok(Some(text.to_owned()));
            }
            if later.is_some_and(about) {
                return Ok(None);
            }
        }
        Err(Lost)
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// Makes the call in a forked child.
    ///
    /// # Panics
    ///
    /// The child did not come to it.
    pub fn make(&self) -> Made {
        let mut comm = self.comm.clone();
        comm.push(0);
        let (flags, program) = &self.filter;
        let len = program.len().try_into().expect("a length of 16 bits");
        let program = sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
        let (uid, gid) = self.ids;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let sharing = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, where the kernel has room.
        let shared = unsafe { libc::mmap(ptr::null_mut(), 8, protection, sharing, -1, 0) };
        assert_ne!(shared, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        // SAFETY: the mapping is shared, zeroed, aligned, and lives until the end of this function.
        let cell = unsafe { &*shared.cast::<AtomicU64>() };
        // SAFETY: the child calls the kernel and stores into the cell; it neither allocates nor panics.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let steps = [
                (libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 0, 0]),
                (libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0]),
                (libc::SYS_prctl, [libc::PR_SET_NAME as u64, comm.as_ptr() as u64, 0]),
                (libc::SYS_setresgid, [gid.into(); 3]),
                (libc::SYS_setresuid, [uid.into(); 3]),
                (
                    libc::SYS_seccomp,
                    [libc::SECCOMP_SET_MODE_FILTER.into(), (*flags).into(), ptr::from_ref(&program) as u64],
                ),
            ];
            let done = steps.into_iter().all(|(nr, [a, b, c])| {
                // SAFETY: they change this process alone, and read what lives.
                unsafe { libc::syscall(nr, a, b, c, 0, 0) == 0 }
            });
            if done {
                match self.entry {
                    // SAFETY: its numbers name calls without effect, or the filter denies them.
                    Arch::I386 => unsafe { compat(self.nr, cell) },
                    // SAFETY: as above.
                    _ => unsafe { native(self.nr, cell) },
                }
            }
            // SAFETY: it ends the process without its parent's exit handlers.
            unsafe { libc::_exit(0) };
        }
        assert!(pid > 0, "fork: {}", io::Error::last_os_error());
        // SAFETY: it is our child; a status is not asked for.
        unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
        let instruction_pointer = cell.load(Ordering::Acquire);
        // SAFETY: the mapping is ours, and the cell is not used any more.
        unsafe { libc::munmap(shared, 8) };
        assert_ne!(instruction_pointer, 0, "{self:?}: the child did not come to its call");
        Made { pid, instruction_pointer }
    }

    /// What the library writes about the call that was made, while `logged` is.
    ///
    /// # Panics
    ///
    /// The filter is none.
    pub fn ours(&self, made: Made, logged: LogMask) -> Option<String> {
        let process = Process::new(EngineKind::DEFAULT, Faults::default());
        let thread = process.leader();
        let (flags, program) = &self.filter;
        assert_eq!(process.install(&thread, *flags, program), Ok(0));
        let data = SeccompData {
            nr: self.nr,
            arch: self.entry.audit_arch(),
            instruction_pointer: made.instruction_pointer,
            args: [0; 6],
        };
        let entry = evaluate(thread.seccomp(), &data, Pass::Entry, logged, None).log?;
        let id = |file: &str| fs::read_to_string(file).expect("/proc").parse().expect("a number");
        let exe = env::current_exe().expect("it runs");
        let record = Record {
            auid: id("/proc/self/loginuid"),
            uid: self.ids.0,
            gid: self.ids.1,
            ses: id("/proc/self/sessionid"),
            subj: None,
            pid: made.pid,
            // What PR_SET_NAME keeps.
            comm: self.comm.get(..15).unwrap_or(&self.comm),
            exe: Some(exe.as_os_str().as_bytes()),
            compat: self.entry.is_compat(),
            entry,
        };
        Some(record.to_string())
    }
}

/// Stores what will be the instruction pointer, then makes a call by `syscall`.
///
/// # Safety
///
/// A filter denies the call, or it has no effect.
unsafe fn native(nr: i32, cell: &AtomicU64) {
    // SAFETY: the cell is written as what it is; what the call does is the caller's.
    unsafe {
        asm!(
            "lea rcx, [rip + 2f]", "mov [{cell}], rcx", "syscall", "2:",
            cell = in(reg) cell.as_ptr(), inlateout("rax") i64::from(nr) => _, out("rcx") _, out("r11") _,
        );
    }
}

/// The same by `int $0x80`.
///
/// # Safety
///
/// As for [`native`].
unsafe fn compat(nr: i32, cell: &AtomicU64) {
    // SAFETY: as for `native`; the entry keeps other registers.
    unsafe {
        asm!(
            "lea r8, [rip + 2f]", "mov [{cell}], r8", "int 0x80", "2:",
            cell = in(reg) cell.as_ptr(), inlateout("rax") i64::from(nr) => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
}
