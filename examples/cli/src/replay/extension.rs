//! An eBPF filter, where not everything that it asks for is known.

use std::cell::Cell;
use std::collections::BTreeSet;

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{Opcode, Reg};
use seccomp_rbpf::symbolic::{Field, Partial};
use seccomp_runtime::verifier::{Log, MapAccess, Region, State, Value};
use seccomp_runtime::{self as runtime, EngineKind, HelperHost, Planned, SeccompData, TaskScope, UserFault};

use super::stack::{Outcome, is_known, unknown};
use crate::engine::Engine;
use crate::extension::Unverified;

/// A filter, with its maps as the calls so far have left them.
pub struct Unsure {
    filter: runtime::Extension,
    /// What it reads of a call on some path.
    reads: BTreeSet<Field>,
    /// Whether what it returns may depend on calls before.
    remembers: bool,
    /// Whether a call before may have changed its maps in a way that is not known.
    is_lost: bool,
}

/// The fields that a program reads.
struct Reads<'i> {
    insns: &'i [Insn],
    fields: BTreeSet<Field>,
}

const FIELDS: [Field; 9] = [
    Field::Nr,
    Field::Arch,
    Field::Ip,
    Field::Arg(0),
    Field::Arg(1),
    Field::Arg(2),
    Field::Arg(3),
    Field::Arg(4),
    Field::Arg(5),
];

/// The field that the byte at this offset of a call is of.
fn field(offset: u64) -> Option<Field> {
    match offset {
        0..4 => Some(Field::Nr),
        4..8 => Some(Field::Arch),
        8..16 => Some(Field::Ip),
        16..64 => Some(Field::Arg(((offset - 16) / 8) as u8)),
        _ => None,
    }
}

impl Log for Reads<'_> {
    fn visit(&mut self, pc: usize, state: &State) {
        let Some(insn) = self.insns.get(pc) else { return };
        let context = |register: u8| match Reg::new(register).map(|register| state.register(register)) {
            Some(Value::Pointer(pointer)) if pointer.region == Region::Context => Some(pointer.offset),
            _ => None,
        };
        match Opcode::decode(insn.code) {
            // Fields and parts of them are aligned, so the first byte says which it is.
            Some(Opcode::Load(_)) => {
                let Some(base) = context(insn.src()) else { return };
                let offset = base.known().map(|base| base.wrapping_add_signed(insn.off.into()));
                match offset.and_then(field) {
                    Some(field) => drop(self.fields.insert(field)),
                    None => self.fields.extend(FIELDS),
                }
            }
            // A helper may read what it is given.
            Some(Opcode::Call) if insn.src() == 0 && (1..=5).any(|register| context(register).is_some()) => {
                self.fields.extend(FIELDS);
            }
            _ => {}
        }
    }
}

impl Unsure {
    /// Verifies and loads a filter with new maps.
    pub fn load(filter: Unverified) -> anyhow::Result<Self> {
        let native = Engine { kind: EngineKind::Native, plan: false };
        let insns = filter.insns.clone();
        let mut reads = Reads { insns: &insns, fields: BTreeSet::new() };
        let filter = filter.verify(&mut reads)?;
        let remembers = filter.verified.maps().iter().any(|map| map.access == MapAccess::ReadWrite);
        let filter = filter.load(native)?.filter.planned(Engine::PLAN.planned_arches())?;
        Ok(Self { filter, reads: reads.fields, remembers, is_lost: false })
    }

    /// The value for every call of a number, if there is one.
    pub fn planned(&self, data: &SeccompData) -> Option<u32> {
        match self.filter.plan_of(data.arch, data.nr) {
            Planned::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// What it decides about the next call.
    pub fn decide(&mut self, call: &Partial) -> Outcome {
        if let Some(value) = self.planned(&call.data) {
            return value.into();
        }
        let missing: BTreeSet<_> =
            self.reads.iter().copied().filter(|field| !is_known(call, *field)).collect();
        if !missing.is_empty() {
            self.is_lost = true;
            return unknown("an eBPF filter reads what is not known", missing);
        }
        let nobody = Nobody::default();
        let value = self.filter.run(&call.data, &nobody);
        if nobody.asked.get() {
            self.is_lost = true;
            return unknown("an eBPF filter asks for memory, time, tasks or chance", BTreeSet::new());
        }
        if self.is_lost && self.remembers {
            return unknown("an eBPF filter remembers calls of which not all is known", BTreeSet::new());
        }
        value.into()
    }
}

/// A system of which nothing is known any more.
#[derive(Default)]
struct Nobody {
    asked: Cell<bool>,
}

impl Nobody {
    fn ask<T: Default>(&self) -> T {
        self.asked.set(true);
        T::default()
    }
}

impl HelperHost for Nobody {
    fn monotonic_ns(&self) -> u64 {
        self.ask()
    }

    fn pid(&self) -> u32 {
        self.ask()
    }

    fn tgid(&self) -> u32 {
        self.ask()
    }

    fn uid(&self) -> u32 {
        self.ask()
    }

    fn gid(&self) -> u32 {
        self.ask()
    }

    fn comm(&self) -> [u8; 16] {
        self.ask()
    }

    fn task(&self, _: TaskScope) -> u64 {
        self.ask()
    }

    fn random(&self) -> u32 {
        self.ask()
    }

    fn copy_from_user(&self, _: u64, _: &mut [u8]) -> Result<(), UserFault> {
        self.ask::<()>();
        Err(UserFault)
    }

    fn trace(&self, _: &str) {}
}
