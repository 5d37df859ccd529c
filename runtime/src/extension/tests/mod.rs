//! Programs in every engine. They are written so that the verifier would take them.

extern crate std;

mod allocations;
mod host;
mod lower;
mod maps;
mod parity;
mod plan;

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use cbpf_translator::disasm::EbpfListing;
use cbpf_translator::ebpf::{AluOp, Insn, Instruction, Operand, Reg};
use memmap2::{Mmap, MmapMut};

use super::*;
use crate::engine::ebpf::program::Function;
use crate::engine::exec_mem::{ExecMemoryError, ExecPages};
use crate::helper::{HELPERS, UserFault};
use crate::map::TaskScope;
use crate::verifier::{self, Environment, Verified, verify};
use core::ptr::NonNull;

/// Executable memory of the machine that tests run on.
struct Pages;

struct Sealed(Mmap);

#[expect(unsafe_code, reason = "the trait's promise")]
// SAFETY: the pages are fresh, filled, and made executable and read-only before anyone else knows them.
unsafe impl ExecMemory for Pages {
    fn seal(&self, code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        let mut pages = MmapMut::map_anon(code.len()).map_err(|_| ExecMemoryError::OutOfMemory)?;
        pages[..code.len()].copy_from_slice(code);
        let sealed = pages.make_exec().map_err(|_| ExecMemoryError::Forbidden)?;
        Ok(Box::new(Sealed(sealed)))
    }
}

#[expect(unsafe_code, reason = "the trait's promise")]
// SAFETY: a mapping stays where it is until it is dropped.
unsafe impl ExecPages for Sealed {
    fn start(&self) -> NonNull<u8> {
        NonNull::from(&self.0[0])
    }
}

/// A thread that always answers the same.
struct Thread {
    task: u64,
    lines: std::sync::Mutex<Vec<std::string::String>>,
    memory: (u64, Vec<u8>),
}

impl Thread {
    fn new() -> Self {
        Self { task: 7, lines: Default::default(), memory: (0x1000, Vec::new()) }
    }
}

impl HelperHost for Thread {
    fn monotonic_ns(&self) -> u64 {
        0x1234_5678_9abc_def0
    }

    fn pid(&self) -> u32 {
        101
    }

    fn tgid(&self) -> u32 {
        100
    }

    fn uid(&self) -> u32 {
        1000
    }

    fn gid(&self) -> u32 {
        0xffff_fffe
    }

    fn comm(&self) -> [u8; 16] {
        *b"fifteen-letters\0"
    }

    fn task(&self, scope: TaskScope) -> u64 {
        match scope {
            TaskScope::Thread => self.task,
            TaskScope::ThreadGroup => self.task / 10,
        }
    }

    fn random(&self) -> u32 {
        4
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        let (start, memory) = &self.memory;
        let offset = from.checked_sub(*start).ok_or(UserFault)? as usize;
        to.copy_from_slice(memory.get(offset..offset + to.len()).ok_or(UserFault)?);
        Ok(())
    }

    fn trace(&self, line: &str) {
        self.lines.lock().unwrap().push(line.into());
    }
}

fn verified(insns: &[Insn], maps: &[Arc<Map>]) -> Verified {
    let maps: Vec<_> = maps.iter().map(|map| map.descriptor()).collect();
    let helpers = HELPERS.each_ref().map(|row| row.helper);
    let environment = Environment { maps: &maps, helpers: &helpers };
    verify(verifier::Program::new(insns.to_vec()), &environment)
        .unwrap_or_else(|error| panic!("{error}:\n{}", EbpfListing(insns)))
}

/// Any program.
fn unverified(insns: &[Insn]) -> Program {
    Program::from_parts(insns, |_| true, functions(insns)).unwrap()
}

/// The functions of a program, whose stacks are as deep as it looks.
fn functions(insns: &[Insn]) -> Vec<Function> {
    let decode = |pc: usize| Instruction::decode(insns[pc], insns.get(pc + 1).copied());
    let mut entries = vec![0];
    let mut pc = 0;
    while pc < insns.len() {
        let insn = decode(pc).unwrap();
        if let Instruction::CallLocal { off } = insn {
            entries.push((pc as i64 + 1 + i64::from(off)) as usize);
        }
        pc += insn.slots();
    }
    entries.sort_unstable();
    entries.dedup();
    let functions = entries.iter().enumerate().map(|(index, entry)| {
        let end = entries.get(index + 1).copied().unwrap_or(insns.len());
        let depths = (*entry..end).filter_map(|pc| match decode(pc).ok()? {
            Instruction::Load { from: address, .. }
            | Instruction::Store { to: address, .. }
            | Instruction::StoreImm { to: address, .. }
                if address.base == Reg::FRAME =>
            {
                Some(-i32::from(address.off))
            }
            Instruction::Alu { op: AluOp::Add, operand: Operand::Imm(imm), .. } if imm >= -512 => Some(-imm),
            _ => None,
        });
        let stack = depths.max().unwrap_or(0).max(0).unsigned_abs().next_multiple_of(8);
        Function { entry: *entry, stack: stack as u16 }
    });
    functions.collect()
}

fn has(kind: EngineKind) -> bool {
    kind != EngineKind::Jit || cfg!(target_arch = "x86_64")
}

/// The program in every engine that this machine has.
fn in_all_engines(insns: &[Insn], maps: &[Arc<Map>]) -> Vec<Extension> {
    let engines = EngineKind::ALL.into_iter().filter(|kind| has(*kind));
    engines.map(|kind| load(insns, maps.to_vec(), kind)).collect()
}

fn load(insns: &[Insn], maps: Vec<Arc<Map>>, kind: EngineKind) -> Extension {
    let loaded = Extension::load(&verified(insns, &maps), maps, &HELPERS, kind, &Pages).unwrap();
    assert_eq!((loaded.engine(), loaded.fell_back()), (kind, None));
    loaded
}

/// What all engines answer.
fn answer(extensions: &[Extension], data: &SeccompData) -> u32 {
    let answers: Vec<_> = extensions.iter().map(|extension| extension.run(data, &Thread::new())).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:x?}");
    answers[0]
}

fn with_args(args: &[u64]) -> SeccompData {
    let mut data = SeccompData { nr: 39, arch: 0xc000_003e, ..Default::default() };
    data.args[..args.len()].copy_from_slice(args);
    data
}

fn assemble(text: &str) -> Vec<Insn> {
    seccomp_tests::verifier::asm::assemble(text).unwrap()
}
