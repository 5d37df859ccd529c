//! The kernel that tests run on, asked by bpf(2): a program of type SYSCALL has a plain context, as ours have.

#![expect(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::string::String;
use std::vec;

use cbpf_translator::ebpf::Insn;

use super::*;

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_TYPE_SYSCALL: u32 = 31;
const F_SLEEPABLE: u32 = 1 << 4;

/// As much of `union bpf_attr` as is used here; the rest is 0.
#[repr(C, align(8))]
struct Attr([u8; 144]);

impl Attr {
    fn new() -> Self {
        Self([0; 144])
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn pointer<T>(self, offset: usize, to: *const T) -> Self {
        let mut attr = self;
        attr.0[offset..offset + 8].copy_from_slice(&(to.expose_provenance() as u64).to_ne_bytes());
        attr
    }

    fn at(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.0[offset..offset + 4].try_into().unwrap())
    }

    fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_long> {
        // SAFETY: what the attributes point to is alive for the call, and as long as they say.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

/// Whether tests that need the host are to run: `SECCOMP_TESTS_NO_HOST=1` turns them off.
pub(super) fn enabled() -> bool {
    if std::env::var_os("SECCOMP_TESTS_NO_HOST").is_some_and(|value| value == "1") {
        std::println!("turned off by SECCOMP_TESTS_NO_HOST=1");
        return false;
    }
    if let Err(error) = Loaded::new(&assemble("r0 = 0; exit")) {
        panic!("bpf(2): {error}; SECCOMP_TESTS_NO_HOST=1 turns the tests off that need it");
    }
    true
}

/// A program in the host's kernel.
pub(super) struct Loaded(OwnedFd);

impl Loaded {
    /// Loads it; maps are named by their descriptors.
    pub(super) fn new(insns: &[Insn]) -> Result<Self, String> {
        let bytes: Vec<[u8; 8]> = insns.iter().map(|insn| insn.to_le_bytes()).collect();
        let mut log = vec![0_u8; 1 << 16];
        let load = |log: &mut [u8]| {
            let level = u32::from(!log.is_empty());
            let mut attr = Attr::new()
                .u32(0, PROG_TYPE_SYSCALL)
                .u32(4, bytes.len() as u32)
                .pointer(8, bytes.as_ptr())
                .pointer(16, c"GPL".as_ptr())
                .u32(24, level)
                .u32(28, log.len() as u32)
                .u32(44, F_SLEEPABLE);
            if level != 0 {
                attr = attr.pointer(32, log.as_ptr());
            }
            attr.call(PROG_LOAD)
        };
        let fd = load(&mut []).map_err(|error| {
            let _ = load(&mut log);
            let text = String::from_utf8_lossy(&log);
            std::format!("{error}: {}", text.trim_end_matches('\0'))
        })?;
        // SAFETY: the kernel has just opened it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// What it returns.
    pub(super) fn run(&self, data: &SeccompData) -> u32 {
        let mut attr = Attr::new()
            .u32(0, self.0.as_raw_fd() as u32)
            .u32(40, size_of::<SeccompData>() as u32)
            .pointer(48, data);
        attr.call(PROG_TEST_RUN).expect("the program runs");
        attr.at(4)
    }
}

/// A map in the host's kernel.
pub(super) struct Map(OwnedFd);

impl Map {
    /// The map of this `BPF_MAP_TYPE_*`.
    pub(super) fn new(kind: u32, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        let mut attr = Attr::new().u32(0, kind).u32(4, key_size).u32(8, value_size).u32(12, max_entries);
        let fd = attr.call(MAP_CREATE).expect("the host makes the map");
        // SAFETY: the kernel has just opened it for us.
        Self(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }

    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
