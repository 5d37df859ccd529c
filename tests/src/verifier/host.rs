//! The verifier of the kernel that the tests run on, as a judge.
//!
//! Programs are offered to bpf(2) as `BPF_PROG_TYPE_SYSCALL`, sleepable: a type whose context is plain memory, and
//! which may use the maps and the helpers of [`environment`](super::environment). The kernel's rules for the context
//! are looser than ours (it may be written, and has no fields), the others are the same.

#![expect(unsafe_code, reason = "bpf(2) has no wrapper")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{env, io};

use cbpf_translator::Insn;
use cbpf_translator::ebpf::Opcode;
use seccomp_runtime::verifier::{MapAccess, MapKind};

use super::environment::MAPS;

const MAP_CREATE: i64 = 0;
const PROG_LOAD: i64 = 5;
const PROG_TYPE_SYSCALL: u32 = 31;
const F_SLEEPABLE: u32 = 1 << 4;
const F_RDONLY_PROG: u32 = 1 << 7;

/// `union bpf_attr`, as far as it is used here.
type Attributes = [u32; 32];

/// The maps of the environment, in the kernel.
#[derive(Debug)]
pub struct Judge {
    maps: Vec<OwnedFd>,
}

/// Why the kernel refuses a program.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The errno.
    pub errno: i32,
    /// The end of the verifier's log.
    pub log: String,
}

/// The kernel's verifier, or nothing if `SECCOMP_TESTS_NO_HOST=1` turns the tests off that need the host.
///
/// # Panics
///
/// It is to be asked and cannot be.
pub fn judge() -> Option<Judge> {
    if env::var_os("SECCOMP_TESTS_NO_HOST").is_some_and(|value| value == "1") {
        println!("turned off by SECCOMP_TESTS_NO_HOST=1");
        return None;
    }
    match Judge::new() {
        Ok(judge) => Some(judge),
        Err(error) => panic!("bpf(2): {error}; SECCOMP_TESTS_NO_HOST=1 turns the tests off that need it"),
    }
}

impl Judge {
    fn new() -> io::Result<Self> {
        let maps = MAPS.iter().map(|map| {
            let kind = match map.kind {
                MapKind::Array => 2,
                MapKind::Hash => 1,
                MapKind::LruHash => 9,
                MapKind::Ring => 27,
                MapKind::TaskStorage => return Err(io::ErrorKind::Unsupported.into()),
            };
            let mut attributes: Attributes = [0; 32];
            attributes[..4].copy_from_slice(&[kind, map.key_size, map.value_size, map.max_entries]);
            attributes[4] = if map.access == MapAccess::ReadOnly { F_RDONLY_PROG } else { 0 };
            bpf(MAP_CREATE, &attributes)
        });
        let judge = Self { maps: maps.collect::<io::Result<_>>()? };
        let exit = [Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
        match judge.verify(&exit) {
            Ok(()) => Ok(judge),
            Err(refusal) => Err(io::Error::from_raw_os_error(refusal.errno)),
        }
    }

    /// What the kernel says of a program. Map numbers in it are indices of the environment's maps.
    ///
    /// # Errors
    ///
    /// It refuses the program.
    pub fn verify(&self, program: &[Insn]) -> Result<(), Refusal> {
        let mut insns = Vec::with_capacity(8 * program.len());
        let mut wide = false;
        for insn in program {
            let mut insn = *insn;
            let load = !wide && Opcode::decode(insn.code) == Some(Opcode::LoadImm64);
            if load && matches!(insn.src(), 1 | 2) {
                let map = usize::try_from(insn.imm).ok().and_then(|map| self.maps.get(map));
                insn.imm = map.map_or(-1, |map| map.as_raw_fd());
            }
            wide = load;
            insns.extend(insn.to_le_bytes());
        }
        let mut log = vec![0_u8; 1 << 16];
        let mut attributes: Attributes = [0; 32];
        attributes[0] = PROG_TYPE_SYSCALL;
        attributes[1] = program.len() as u32;
        put(&mut attributes, 2, insns.as_ptr().expose_provenance());
        put(&mut attributes, 4, c"GPL".as_ptr().expose_provenance());
        attributes[6] = 1;
        attributes[7] = log.len() as u32;
        put(&mut attributes, 8, log.as_mut_ptr().expose_provenance());
        attributes[11] = F_SLEEPABLE;
        let answer = bpf(PROG_LOAD, &attributes);
        let Err(error) = answer else { return Ok(()) };
        let errno = error.raw_os_error().unwrap_or(0);
        if errno == libc::ENOSPC {
            // The log is full, and that is all that is wrong, or else says the kernel without one.
            attributes[6..10].fill(0);
            return match bpf(PROG_LOAD, &attributes) {
                Ok(_) => Ok(()),
                Err(error) => {
                    Err(Refusal { errno: error.raw_os_error().unwrap_or(0), log: "too long".into() })
                }
            };
        }
        let len = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let text = String::from_utf8_lossy(&log[..len]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("processed ")).collect();
        Err(Refusal { errno, log: lines[lines.len().saturating_sub(4)..].join("\n") })
    }
}

fn put(attributes: &mut Attributes, at: usize, address: usize) {
    let address = address as u64;
    (attributes[at], attributes[at + 1]) = (address as u32, (address >> 32) as u32);
}

fn bpf(command: i64, attributes: &Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the attributes, and writes to the log they name, which its owner keeps.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<Attributes>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands give a new file descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
