//! Extensions: eBPF filters that user space brings, with their maps (`SECCOMP_FILTER_FLAG_EXTENSION`, which Linux has
//! not).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use cbpf_translator::ebpf::Insn;
use cbpf_translator::fallible::{collected, filled, shared, with_capacity};
use seccomp_runtime::verifier::{
    Environment, MAX_INSNS, MapAccess, MapDescriptor, MapKind, Program, VerifyError, verify,
};
use seccomp_runtime::{
    AccessError, AtFork, Budget, CreateError, EngineKind, Extension, HelperRow, LoadError, Map, MapOptions,
    Preemption, TaskScope, Update,
};

use crate::install::{InstallError, read_each};
use crate::kernel::{Fault, Kernel, Thread};
use crate::storage;
use crate::uapi::{ExtensionFlags, ExtensionMapFlags, SeccompExtension, SeccompExtensionMap};

/// The most maps that one extension may have.
pub const MAX_EXTENSION_MAPS: usize = 64;

/// What the caller may install as an extension.
#[derive(Clone, Copy, Debug)]
pub struct ExtensionRights<'k> {
    /// The helpers that it may call.
    pub helpers: &'k [HelperRow],
    /// The engine that it runs on.
    pub engine: EngineKind,
    /// What each decision of it may take.
    pub budget: Budget,
    /// Bytes that the keys and values of its maps may take, together with those of the extensions that the caller has
    /// already. What keeps the entries of a hash together takes up to 28 bytes more for each.
    pub map_bytes: usize,
    /// Whether the kernel then uses the copies of user memory that
    /// [`HelperHost::copy_from_user`](seccomp_runtime::HelperHost::copy_from_user) has made, and not what is in user
    /// memory when the call runs. Only then may an extension rely on them
    /// ([`ExtensionFlags::RELIES_ON_COPIES`]); else what it reads can change before it is used.
    pub uses_copies: bool,
    /// What keeps whoever holds the lock of one of its maps on the CPU.
    pub preemption: &'static dyn Preemption,
    /// Where keys are in its hashes depends on this. It is the kernel's secret.
    pub seed: [u64; 2],
}

/// Why an extension is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    /// A flag that is not known, or a reserved field that is not 0.
    Fields,
    /// It has no instructions, or more than [`MAX_INSNS`].
    Length(u32),
    /// It has more than [`MAX_EXTENSION_MAPS`] maps.
    MapCount(u32),
    /// The kind of a map, its flags, or contents for what has none.
    MapFields {
        /// Which map.
        map: u32,
    },
    /// A map cannot be made.
    Map {
        /// Which map.
        map: u32,
        /// Why.
        why: CreateError,
    },
    /// The maps need more memory than [`ExtensionRights::map_bytes`].
    MapBytes,
    /// It relies on copies that the kernel does not use.
    Copies,
    /// It could not be proved safe.
    Verify(VerifyError),
}

/// Reads, verifies and loads the extension that `address` describes. The caller's rights have been looked at.
pub(crate) fn read<K: Kernel>(
    kernel: &K,
    rights: &ExtensionRights<'_>,
    address: u64,
) -> Result<Extension, InstallError> {
    let mut bytes = [0; SeccompExtension::SIZE];
    kernel.read_user(address, &mut bytes)?;
    let extension = SeccompExtension::from_ne_bytes(bytes);
    let flags = ExtensionFlags::from_bits(extension.flags).filter(|_| extension.reserved == 0);
    let flags = flags.ok_or(ExtensionError::Fields)?;
    if flags.contains(ExtensionFlags::RELIES_ON_COPIES) && !rights.uses_copies {
        return Err(ExtensionError::Copies.into());
    }
    let insns = read_insns(kernel, extension)?;
    let maps = read_maps(kernel, rights, extension)?;

    let descriptors = collected(maps.iter().map(|map| map.descriptor()))?;
    let helpers = collected(rights.helpers.iter().map(|row| row.helper))?;
    let environment = Environment { maps: &descriptors, helpers: &helpers };
    let verified = verify(Program::new(insns), &environment).map_err(|error| match error {
        VerifyError::OutOfMemory => InstallError::OutOfMemory,
        error => ExtensionError::Verify(error).into(),
    })?;
    let loaded = Extension::load(&verified, maps, rights.helpers, rights.engine, kernel.exec_memory());
    // Maps and helpers are what it was verified against, so nothing else can be missing.
    let loaded = loaded.map_err(|_: LoadError| InstallError::OutOfMemory)?;
    Ok(loaded.with_budget(rights.budget))
}

fn read_insns<K: Kernel>(kernel: &K, extension: SeccompExtension) -> Result<Vec<Insn>, InstallError> {
    let len = usize::try_from(extension.insn_count).ok().filter(|len| (1..=MAX_INSNS).contains(len));
    let len = len.ok_or(ExtensionError::Length(extension.insn_count))?;
    let mut insns = with_capacity(len)?;
    read_each(kernel, extension.insns, len, |insn| insns.push(Insn::from_le_bytes(insn)))?;
    Ok(insns)
}

fn read_maps<K: Kernel>(
    kernel: &K,
    rights: &ExtensionRights<'_>,
    extension: SeccompExtension,
) -> Result<Vec<Arc<Map>>, InstallError> {
    let count = usize::try_from(extension.map_count).ok().filter(|count| *count <= MAX_EXTENSION_MAPS);
    let count = count.ok_or(ExtensionError::MapCount(extension.map_count))?;
    let mut described = with_capacity(count)?;
    read_each(kernel, extension.maps, count, |map| {
        described.push(SeccompExtensionMap::from_ne_bytes(map));
    })?;
    let mut left = u64::try_from(rights.map_bytes).unwrap_or(u64::MAX);
    // Each filter brings maps, and a thread can have thousands of filters.
    for map in storage::maps(kernel.current().seccomp()) {
        left = left.saturating_sub(memory(map.descriptor()));
    }
    let mut maps = with_capacity(count)?;
    for (index, described) in (0..).zip(described) {
        let described = Described::new(index, described)?;
        left = left.checked_sub(memory(described.descriptor)).ok_or(ExtensionError::MapBytes)?;
        maps.push(shared(make_map(kernel, rights, index, &described)?)?);
    }
    Ok(maps)
}

/// A map, not made.
struct Described {
    descriptor: MapDescriptor,
    flags: ExtensionMapFlags,
    values: u64,
}

impl Described {
    fn new(map: u32, described: SeccompExtensionMap) -> Result<Self, ExtensionError> {
        let SeccompExtensionMap { kind, key_size, value_size, max_entries, flags, values, reserved } =
            described;
        let flags = ExtensionMapFlags::from_bits(flags).filter(|_| reserved == 0);
        let known = MapKind::of_number(kind).zip(flags);
        let (kind, flags) = known.ok_or(ExtensionError::MapFields { map })?;
        if values != 0 && kind != MapKind::Array {
            return Err(ExtensionError::MapFields { map });
        }
        let read_only = flags.contains(ExtensionMapFlags::READ_ONLY);
        let access = if read_only { MapAccess::ReadOnly } else { MapAccess::ReadWrite };
        let descriptor = MapDescriptor { kind, key_size, value_size, max_entries, access };
        Ok(Self { descriptor, flags, values })
    }
}

/// Bytes that the keys and values of a map take, at least.
fn memory(map: MapDescriptor) -> u64 {
    let MapDescriptor { key_size, value_size, max_entries, .. } = map;
    let entry = u64::from(key_size).saturating_add(u64::from(value_size).next_multiple_of(8));
    // A ring has no values, and as many bytes as it says entries.
    entry.max(1).saturating_mul(max_entries.into())
}

fn make_map<K: Kernel>(
    kernel: &K,
    rights: &ExtensionRights<'_>,
    map: u32,
    described: &Described,
) -> Result<Map, InstallError> {
    let Described { descriptor, flags, values } = *described;
    let of_group = flags.contains(ExtensionMapFlags::THREAD_GROUP);
    let options = MapOptions {
        scope: if of_group { TaskScope::ThreadGroup } else { TaskScope::Thread },
        at_fork: if flags.contains(ExtensionMapFlags::COPY) { AtFork::Copy } else { AtFork::Reset },
        seed: rights.seed,
    };
    let made = Map::new(descriptor, options, rights.preemption).map_err(|why| match why {
        CreateError::OutOfMemory => InstallError::OutOfMemory,
        why => ExtensionError::Map { map, why }.into(),
    })?;
    if values != 0 {
        fill(kernel, &made, values)?;
    }
    if flags.contains(ExtensionMapFlags::FROZEN) {
        made.freeze();
    }
    Ok(made)
}

/// Gives an array its first values, which are one behind the other.
fn fill<K: Kernel>(kernel: &K, map: &Map, mut address: u64) -> Result<(), InstallError> {
    let mut value = filled(map.value_len(), 0)?;
    for index in 0..map.descriptor().max_entries {
        kernel.read_user(address, &mut value)?;
        // The key is an index of the array, the value has its size, and nobody has frozen it.
        map.update(&index.to_ne_bytes(), &value, Update::Any).map_err(|_: AccessError| Fault)?;
        address = address.checked_add(value.len() as u64).ok_or(Fault)?;
    }
    Ok(())
}

impl From<ExtensionError> for InstallError {
    fn from(error: ExtensionError) -> Self {
        Self::Extension(error)
    }
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields => {
                f.write_str("the extension has an unknown flag, or a reserved field that is not 0")
            }
            Self::Length(len) => write!(f, "{len} instructions, 1 to {MAX_INSNS} are possible"),
            Self::MapCount(count) => write!(f, "{count} maps, {MAX_EXTENSION_MAPS} are possible"),
            Self::MapFields { map } => {
                write!(f, "map {map}: its kind, its flags or its first values are not known")
            }
            Self::Map { map, why } => write!(f, "map {map}: {why}"),
            Self::MapBytes => f.write_str("the maps need more memory than the caller may have"),
            Self::Copies => f.write_str("it relies on copies of user memory that this kernel does not use"),
            Self::Verify(error) => error.fmt(f),
        }
    }
}

impl Error for ExtensionError {}
