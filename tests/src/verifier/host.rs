//! The verifier of the kernel that the tests run on, as a judge.
//!
//! Programs are offered to bpf(2) as `BPF_PROG_TYPE_SYSCALL`, sleepable: a type whose context is plain memory, and
//! which may use the maps and the helpers of [`environment`](super::environment). The kernel's rules for the context
//! are looser than ours (it may be written, and has no fields), the others are the same.

#![expect(unsafe_code, reason = "bpf(2) has no wrapper")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{env, io, thread};

use cbpf_translator::Insn;
use cbpf_translator::ebpf::Opcode;
use seccomp_rbpf::object::Object;
use seccomp_runtime::verifier::{MapAccess, MapDescriptor, MapKind};

use super::environment::{MAPS, TASK};

const MAP_CREATE: i64 = 0;
const MAP_UPDATE: i64 = 2;
const PROG_LOAD: i64 = 5;
const MAP_FREEZE: i64 = 22;
const PROG_TYPE_SYSCALL: u32 = 31;
const F_SLEEPABLE: u32 = 1 << 4;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
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
        // Linux has task storage for programs of other types.
        let common = MAPS.iter().take(TASK as usize);
        let judge = Self { maps: common.map(create).collect::<io::Result<_>>()? };
        let exit = [Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
        match judge.verify(&exit) {
            Ok(()) => Ok(judge),
            Err(refusal) => Err(io::Error::from_raw_os_error(refusal.errno)),
        }
    }

    /// The kernel's verifier with the maps of an object file, each with its first value; nothing if one is of a kind
    /// that the kernel has for no program of this type.
    ///
    /// # Panics
    ///
    /// The kernel does not make a map.
    pub fn with_maps_of(&self, object: &Object) -> Option<Self> {
        if object.maps.iter().any(|map| map.descriptor.kind == MapKind::TaskStorage) {
            return None;
        }
        let maps = object.maps.iter().map(|map| {
            let fd = create(&map.descriptor)?;
            if let Some(initial) = &map.initial {
                let key = 0_u32;
                let mut attributes: Attributes = [0; 32];
                attributes[0] = fd.as_raw_fd().cast_unsigned();
                put(&mut attributes, 2, (&raw const key).expose_provenance());
                put(&mut attributes, 4, initial.as_ptr().expose_provenance());
                call(MAP_UPDATE, &attributes)?;
            }
            if map.freeze {
                let mut attributes: Attributes = [0; 32];
                attributes[0] = fd.as_raw_fd().cast_unsigned();
                call(MAP_FREEZE, &attributes)?;
            }
            Ok(fd)
        });
        Some(Self { maps: maps.collect::<io::Result<_>>().expect("the kernel makes the maps") })
    }

    /// Whether the kernel accepts a program, which takes less than asking why not.
    pub fn accepts(&self, program: &[Insn]) -> bool {
        open(PROG_LOAD, &self.load(&self.bytes(program))).is_ok()
    }

    /// What the kernel says of a program of somebody who may load programs, and may not look into the kernel
    /// (CAP_BPF without CAP_PERFMON): of whom it wants that no address is shown, and no stack read that was not set.
    ///
    /// # Errors
    ///
    /// It refuses the program.
    ///
    /// # Panics
    ///
    /// The calling thread cannot give up capabilities.
    pub fn verify_of_a_stranger(&self, program: &[Insn]) -> Result<(), Refusal> {
        // Capabilities are a thread's own, and this one ends.
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                give_up(&[CAP_SYS_ADMIN, CAP_PERFMON]).expect("capabilities can be given up");
                self.verify(program)
            });
            asked.join().expect("the thread has an answer")
        })
    }

    /// What the kernel says of a program. Map numbers in it are indices of the maps.
    ///
    /// # Errors
    ///
    /// It refuses the program.
    pub fn verify(&self, program: &[Insn]) -> Result<(), Refusal> {
        let bytes = self.bytes(program);
        let mut attributes = self.load(&bytes);
        let mut log = vec![0_u8; 1 << 16];
        attributes[6] = 1;
        attributes[7] = log.len() as u32;
        put(&mut attributes, 8, log.as_mut_ptr().expose_provenance());
        let Err(error) = open(PROG_LOAD, &attributes) else { return Ok(()) };
        let mut errno = error.raw_os_error().unwrap_or(0);
        if errno == libc::ENOSPC {
            // The log is too long, of which it keeps the end; that may be all that is wrong.
            attributes[6..10].fill(0);
            match open(PROG_LOAD, &attributes) {
                Ok(_) => return Ok(()),
                Err(error) => errno = error.raw_os_error().unwrap_or(0),
            }
        }
        let len = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let text = String::from_utf8_lossy(&log[..len]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("processed ")).collect();
        Err(Refusal { errno, log: lines[lines.len().saturating_sub(4)..].join("\n") })
    }

    /// A program with the maps' descriptors in it.
    fn bytes(&self, program: &[Insn]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * program.len());
        let mut wide = false;
        for insn in program {
            let mut insn = *insn;
            let load = !wide && Opcode::decode(insn.code) == Some(Opcode::LoadImm64);
            if load && matches!(insn.src(), 1 | 2) {
                let map = usize::try_from(insn.imm).ok().and_then(|map| self.maps.get(map));
                insn.imm = map.map_or(-1, |map| map.as_raw_fd());
            }
            wide = load;
            bytes.extend(insn.to_le_bytes());
        }
        bytes
    }

    fn load(&self, bytes: &[u8]) -> Attributes {
        let mut attributes: Attributes = [0; 32];
        attributes[0] = PROG_TYPE_SYSCALL;
        attributes[1] = (bytes.len() / 8) as u32;
        put(&mut attributes, 2, bytes.as_ptr().expose_provenance());
        put(&mut attributes, 4, c"GPL".as_ptr().expose_provenance());
        attributes[11] = F_SLEEPABLE;
        attributes
    }
}

/// A map of this description, empty.
fn create(map: &MapDescriptor) -> io::Result<OwnedFd> {
    let mut attributes: Attributes = [0; 32];
    attributes[..4].copy_from_slice(&[map.kind.number(), map.key_size, map.value_size, map.max_entries]);
    attributes[4] = if map.access == MapAccess::ReadOnly { F_RDONLY_PROG } else { 0 };
    open(MAP_CREATE, &attributes)
}

fn put(attributes: &mut Attributes, at: usize, address: usize) {
    let address = address as u64;
    (attributes[at], attributes[at + 1]) = (address as u32, (address >> 32) as u32);
}

fn call(command: i64, attributes: &Attributes) -> io::Result<i64> {
    // SAFETY: the kernel reads the attributes, and what they name, of the size that it has; it writes to the log
    // alone. Their owners keep both.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A call that opens a descriptor.
fn open(command: i64, attributes: &Attributes) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the commands that come here give a new file descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Gives up capabilities of the calling thread.
fn give_up(capabilities: &[u32]) -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`, and this thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Of each half: effective, permitted, inheritable.
    let mut halves = [[0_u32; 3]; 2];
    let mut header = HEADER;
    // SAFETY: the header is two words, and with this version the kernel writes two times three.
    let read = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), halves.as_mut_ptr()) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    for capability in capabilities {
        halves[(capability / 32) as usize].iter_mut().for_each(|set| *set &= !(1 << (capability % 32)));
    }
    // SAFETY: as above, and the kernel reads them.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), halves.as_ptr()) };
    if set != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
