//! What a program may call, and what that needs of the kernel.

mod format;
mod rows;

use core::error::Error;
use core::fmt;

pub use crate::engine::ebpf::Call;
pub use rows::HELPERS;

use crate::map::TaskScope;
use crate::verifier::Helper;

/// What helpers ask the kernel. The thread is the one that makes the system call.
///
/// Called while the filter runs, with no lock of this project's held and none of a map. No method may allocate
/// where the kernel's system call path must not, and none may run the filters of the thread.
pub trait HelperHost {
    /// Nanoseconds since some moment before all others, never less than before (`CLOCK_MONOTONIC`).
    fn monotonic_ns(&self) -> u64;

    /// The thread's id, as the first namespace of the system numbers threads.
    fn pid(&self) -> u32;

    /// Its thread group's id.
    fn tgid(&self) -> u32;

    /// Its real user id, as the first user namespace has it.
    fn uid(&self) -> u32;

    /// Its real group id.
    fn gid(&self) -> u32;

    /// Its name, ended by the first 0 and by the end of the array.
    fn comm(&self) -> [u8; 16];

    /// An id of the thread or of its thread group that no other one has while this one lives.
    fn task(&self, scope: TaskScope) -> u64;

    /// Bits that nobody can predict.
    fn random(&self) -> u32;

    /// Copies user memory at `from` to `to`, all of it. May sleep if the kernel lets filters sleep; if not, a
    /// page that is not there is a fault. Reads no byte twice, so what the program sees is one moment's value
    /// of each byte, and not what a later copy would find: another thread may change it meanwhile.
    ///
    /// # Errors
    ///
    /// Not all of it is the thread's readable memory.
    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault>;

    /// A line that the program prints, without its newline if it has none; for whoever watches the kernel.
    fn trace(&self, line: &str);
}

/// User memory that is not the thread's to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserFault;

impl fmt::Display for UserFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("user memory cannot be read there")
    }
}

impl Error for UserFault {}

/// What an embedder grants when it lets a program call a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// To remember: maps and task storage.
    Maps,
    /// To send events to user space.
    Events,
    /// To read the clock.
    Time,
    /// To draw random numbers.
    Random,
    /// To know who makes the call.
    Identity,
    /// To write to the kernel's log.
    Trace,
    /// To read what arguments point to.
    UserMemory,
    /// What the embedder's own helper does.
    Own,
}

/// A helper: everything about it in one row.
#[derive(Clone, Copy, Debug)]
pub struct HelperRow {
    /// Its name in C, without `bpf_`.
    pub name: &'static str,
    /// What the verifier needs to know: number and prototype.
    pub helper: Helper,
    /// What granting it allows.
    pub capability: Capability,
    /// What it does. It is called with arguments that the verifier has checked against the prototype.
    pub function: HelperFn,
}

impl HelperRow {
    /// An embedder's helper. Whenever it is called it is held to its prototype: it reads and writes nothing else, what it
    /// leaves of a stack that it is to write is 0, and what it gives is compared.
    pub const fn new(name: &'static str, helper: Helper, capability: Capability, function: HelperFn) -> Self {
        Self { name, helper, capability, function }
    }

    /// Whether it is `map_lookup_elem` as it stands here, so that an engine may do itself what the function does. That is
    /// looked at and not noted: whoever has a row may change it.
    pub(crate) fn is_map_lookup(&self) -> bool {
        let [lookup, ..] = &HELPERS;
        core::ptr::fn_addr_eq(self.function, lookup.function) && self.helper == lookup.helper
    }
}

/// A helper's function; the result is what the program finds in r0. It must not panic. A result that is not what the
/// prototype says is null to the program, and a failure of the engine when that ends.
pub type HelperFn = fn(&mut Call<'_, '_>) -> u64;
