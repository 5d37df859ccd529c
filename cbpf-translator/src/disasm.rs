//! Programs as text, classic and eBPF.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::fmt;

use crate::asm::Form;
use crate::cbpf::{AluOp, Cond, OPCODES, Opcode, OpcodeRow, SockFilter, Source, Width};
use crate::ebpf::{self, Imm64, Insn, Instruction, Size, Unsupported};
use crate::seccomp;

/// A classic program as text in the syntax of the kernel's `bpf_asm`, one instruction a line.
///
/// Any program will do, checked or not. What the syntax has no place for (a junk field, an unknown opcode, a
/// jump past the end) is written as a raw instruction, `{ code, jt, jf, k }`, so
/// [`assemble`](crate::asm::assemble) gives back exactly the program if that has 1 to
/// [`MAX_INSNS`](crate::cbpf::MAX_INSNS) instructions.
///
/// Comments name the field of `seccomp_data` that is read (a half of a 64-bit one as on a little-endian
/// machine), the action returned and the architecture compared with.
#[derive(Clone, Copy, Debug)]
pub struct Disassembly<'a>(pub &'a [SockFilter]);

impl fmt::Display for Disassembly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut labelled = vec![false; self.0.len()];
        for (pc, insn) in self.0.iter().enumerate() {
            for target in targets(pc, *insn).into_iter().flatten() {
                if let Some(labelled) = usize::try_from(target).ok().and_then(|pc| labelled.get_mut(pc)) {
                    *labelled = true;
                }
            }
        }
        for ((pc, insn), labelled) in self.0.iter().enumerate().zip(labelled) {
            let label = if labelled { format!("L{pc}:") } else { String::new() };
            let (text, comment) = line(pc, *insn, self.0.len());
            if comment.is_empty() {
                writeln!(f, "{label:<8}{text}")?;
            } else {
                writeln!(f, "{label:<8}{text:<30} ; {comment}")?;
            }
        }
        Ok(())
    }
}

/// The indices an instruction may jump to.
fn targets(pc: usize, insn: SockFilter) -> [Option<u64>; 2] {
    let target = |distance: u32| Some((pc as u64).saturating_add(1).saturating_add(distance.into()));
    match Opcode::decode(insn.code) {
        Some(Opcode::Ja) => [target(insn.k), None],
        Some(Opcode::Jump(..)) => [target(insn.jt.into()), target(insn.jf.into())],
        _ => [None, None],
    }
}

/// The instruction at `pc` of a program of `len` instructions, and a comment or nothing.
fn line(pc: usize, insn: SockFilter, len: usize) -> (String, String) {
    let raw = || {
        let SockFilter { code, jt, jf, k } = insn;
        format!("{{ {code:#04x}, {jt}, {jf}, {k:#010x} }}")
    };
    let Some(row) = OPCODES.iter().find(|row| row.code == insn.code) else {
        return (raw(), "unknown opcode".into());
    };
    let text = symbolic(row, pc, insn);
    let comment = comment(row.opcode, insn.k);
    if has_place_for(row.opcode, insn) && targets(pc, insn).into_iter().flatten().all(|t| t < len as u64) {
        return (text, comment);
    }
    let separator = if comment.is_empty() { "" } else { " ; " };
    (raw(), format!("{text}{separator}{comment}"))
}

/// Whether the syntax shows every field that is not 0.
fn has_place_for(opcode: Opcode, insn: SockFilter) -> bool {
    let conditional = matches!(opcode, Opcode::Jump(..));
    let operand = !matches!(Form::of(opcode), Form::None | Form::Len | Form::X | Form::A);
    (conditional || (insn.jt, insn.jf) == (0, 0)) && (operand || insn.k == 0)
}

/// An instruction in `bpf_asm`'s syntax, without the fields that its opcode does not use.
fn symbolic(row: &OpcodeRow, pc: usize, insn: SockFilter) -> String {
    let mnemonic = row.mnemonic;
    let k = constant(insn.k, is_bits(row.opcode));
    let text = match Form::of(row.opcode) {
        Form::None => mnemonic.into(),
        Form::Constant => format!("{mnemonic} #{k}"),
        Form::Len => format!("{mnemonic} len"),
        Form::Absolute => format!("{mnemonic} [{k}]"),
        Form::Indirect => format!("{mnemonic} [x + {k}]"),
        Form::Scratch => format!("{mnemonic} M[{k}]"),
        Form::HeaderLen => format!("{mnemonic} 4*([{k}]&0xf)"),
        Form::X => format!("{mnemonic} x"),
        Form::A => format!("{mnemonic} a"),
        Form::Target => mnemonic.into(),
    };
    match targets(pc, insn) {
        [Some(jt), Some(jf)] => format!("{text}, L{jt}, L{jf}"),
        [Some(target), None] => format!("{text} L{target}"),
        _ => text,
    }
}

/// Whether an operation takes its constant for bits rather than a number.
fn is_bits(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::RetK
            | Opcode::Alu(AluOp::And | AluOp::Or | AluOp::Xor, Source::K)
            | Opcode::Jump(Cond::Set, Source::K)
    )
}

/// A constant in the base that reads best.
fn constant(k: u32, bits: bool) -> String {
    // Syscall numbers, offsets, slots and shifts are all below.
    if bits || k >= 4096 { format!("{k:#x}") } else { format!("{k}") }
}

/// What a constant means to seccomp; empty if nothing.
fn comment(opcode: Opcode, k: u32) -> String {
    match opcode {
        Opcode::LdAbs(Width::Word) => data_field(k),
        Opcode::RetK => action(k),
        Opcode::Jump(Cond::Eq, Source::K) => {
            let arch = seccomp::AUDIT_ARCH_NAMES.iter().find(|(_, arch)| *arch == k);
            arch.map_or(String::new(), |(name, _)| String::from(*name))
        }
        _ => String::new(),
    }
}

/// The field of `seccomp_data` at an offset.
fn data_field(offset: u32) -> String {
    let half = if offset.is_multiple_of(8) { "low" } else { "high" };
    match offset {
        0 => "nr".into(),
        4 => "arch".into(),
        8 | 12 => format!("instruction_pointer ({half})"),
        16..seccomp::DATA_SIZE if offset.is_multiple_of(4) => {
            format!("args[{}] ({half})", offset.saturating_sub(16) / 8)
        }
        _ => String::new(),
    }
}

/// What a return value asks for.
fn action(value: u32) -> String {
    let (action, data) = (value & seccomp::RET_ACTION_FULL, value & seccomp::RET_DATA);
    let Some((name, _)) = seccomp::RET_NAMES.iter().find(|(_, value)| *value == action) else {
        return "unknown action, KILL_PROCESS".into();
    };
    let name = name.trim_start_matches("SECCOMP_RET_");
    if data == 0 && action != seccomp::RET_ERRNO { name.into() } else { format!("{name}({data})") }
}

/// An eBPF program as text, one instruction a line: its index, its bytes (so that junk in unused fields
/// shows) and what it does, in the words of the kernel's verifier log.
#[derive(Clone, Copy, Debug)]
pub struct EbpfListing<'a>(pub &'a [Insn]);

impl fmt::Display for EbpfListing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut insns = self.0.iter().enumerate();
        while let Some((pc, insn)) = insns.next() {
            let wide = ebpf::Opcode::decode(insn.code) == Some(ebpf::Opcode::LoadImm64);
            let second = if wide { insns.next() } else { None };
            write_bytes(f, pc, insn)?;
            write_ebpf(f, *insn, second.map(|(_, insn)| *insn))?;
            writeln!(f)?;
            if let Some((pc, insn)) = second {
                write_bytes(f, pc, insn)?;
                writeln!(f, "(second half)")?;
            }
        }
        Ok(())
    }
}

/// What one instruction of an eBPF program does, as [`EbpfListing`] says it.
#[derive(Clone, Copy, Debug)]
pub struct EbpfInsn<'a> {
    /// The program.
    pub program: &'a [Insn],
    /// The index of the instruction.
    pub pc: usize,
}

impl fmt::Display for EbpfInsn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.pc.checked_add(1).and_then(|next| self.program.get(next));
        match self.program.get(self.pc) {
            Some(insn) => write_ebpf(f, *insn, next.copied()),
            None => f.write_str("(no instruction)"),
        }
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, pc: usize, insn: &Insn) -> fmt::Result {
    write!(f, "{pc:>5}: ")?;
    insn.to_le_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x} "))?;
    f.write_str(" ")
}

/// What an instruction does; `second` is the second half of one that takes two.
fn write_ebpf(f: &mut fmt::Formatter<'_>, insn: Insn, second: Option<Insn>) -> fmt::Result {
    let (dst, src, off, imm) = (insn.dst(), insn.src(), insn.off, insn.imm);
    if let Some(unsupported) = Unsupported::of(insn)
        && let Some(written) = write_newer(f, insn, unsupported)
    {
        return written;
    }
    match ebpf::Opcode::decode(insn.code) {
        Some(ebpf::Opcode::Alu(width, op, source)) => {
            let (r, op) = (prefix(width), alu_sign(op));
            match source {
                ebpf::Source::Imm => write!(f, "{r}{dst} {op} {imm}"),
                ebpf::Source::Reg => write!(f, "{r}{dst} {op} {r}{src}"),
            }
        }
        Some(ebpf::Opcode::Neg(width)) => {
            let r = prefix(width);
            write!(f, "{r}{dst} = -{r}{dst}")
        }
        Some(ebpf::Opcode::ToLe) => write!(f, "r{dst} = le{imm} r{dst}"),
        Some(ebpf::Opcode::ToBe) => write!(f, "r{dst} = be{imm} r{dst}"),
        Some(ebpf::Opcode::Ja) => write!(f, "goto {off:+}"),
        Some(ebpf::Opcode::Jump(width, cond, source)) => {
            let (r, cond) = (prefix(width), cond_sign(cond));
            match source {
                ebpf::Source::Imm => write!(f, "if {r}{dst} {cond} {imm:#x} goto {off:+}"),
                ebpf::Source::Reg => write!(f, "if {r}{dst} {cond} {r}{src} goto {off:+}"),
            }
        }
        Some(ebpf::Opcode::Call) if src == 1 => write!(f, "call pc{imm:+}"),
        Some(ebpf::Opcode::Call) => write!(f, "call {imm}"),
        Some(ebpf::Opcode::Exit) => f.write_str("exit"),
        Some(ebpf::Opcode::LoadImm64) => match second {
            Some(second) => match Instruction::decode(insn, Some(second)) {
                Ok(Instruction::LoadImm64 { imm: Imm64::Map(map), .. }) => write!(f, "r{dst} = map[{map}]"),
                Ok(Instruction::LoadImm64 { imm: Imm64::MapValue { map, offset }, .. }) => {
                    write!(f, "r{dst} = map[{map}][0]+{offset}")
                }
                _ => {
                    let high = u64::from(second.imm.cast_unsigned()) << 32;
                    write!(f, "r{dst} = {:#x}", high | u64::from(imm.cast_unsigned()))
                }
            },
            None => f.write_str("(second half missing)"),
        },
        Some(ebpf::Opcode::LoadAbs(size)) => write!(f, "r0 = *({} *)skb[{imm}]", memory(size)),
        Some(ebpf::Opcode::LoadInd(size)) => {
            write!(f, "r0 = *({} *)skb[r{src} + {imm}]", memory(size))
        }
        Some(ebpf::Opcode::Load(size)) => write!(f, "r{dst} = *({} *)(r{src} {off:+})", memory(size)),
        Some(ebpf::Opcode::StoreImm(size)) => write!(f, "*({} *)(r{dst} {off:+}) = {imm}", memory(size)),
        Some(ebpf::Opcode::Store(size)) => write!(f, "*({} *)(r{dst} {off:+}) = r{src}", memory(size)),
        Some(ebpf::Opcode::Atomic(size)) => atomic(f, insn, size),
        None => f.write_str("(unknown)"),
    }
}

/// What `-mcpu=v4` added; nothing for what the opcode alone tells.
fn write_newer(f: &mut fmt::Formatter<'_>, insn: Insn, which: Unsupported) -> Option<fmt::Result> {
    let (dst, src, off, imm) = (insn.dst(), insn.src(), insn.off, insn.imm);
    let r = match ebpf::Opcode::decode(insn.code) {
        Some(ebpf::Opcode::Alu(width, ..)) => prefix(width),
        _ => 'r',
    };
    let sign = match which {
        Unsupported::SignedDiv => "s/=",
        Unsupported::SignedMod => "s%=",
        Unsupported::MoveSigned => return Some(write!(f, "{r}{dst} = (s{off}){r}{src}")),
        Unsupported::Bswap => return Some(write!(f, "r{dst} = bswap{imm} r{dst}")),
        Unsupported::LongJump => return Some(write!(f, "gotol {imm:+}")),
        Unsupported::LoadSigned(size) => {
            let size = memory(size).trim_start_matches('u');
            return Some(write!(f, "r{dst} = *(s{size} *)(r{src} {off:+})"));
        }
        Unsupported::Atomic | Unsupported::LoadAbs | Unsupported::LoadInd => return None,
    };
    Some(match ebpf::Opcode::decode(insn.code) {
        Some(ebpf::Opcode::Alu(_, _, ebpf::Source::Reg)) => write!(f, "{r}{dst} {sign} {r}{src}"),
        _ => write!(f, "{r}{dst} {sign} {imm}"),
    })
}

/// An atomic operation by what its constant says.
fn atomic(f: &mut fmt::Formatter<'_>, insn: Insn, size: Size) -> fmt::Result {
    const FETCH: i32 = 0x01;
    const XCHG: i32 = 0xe0 | FETCH;
    const CMPXCHG: i32 = 0xf0 | FETCH;
    // The numbers are those of the arithmetic opcodes.
    const OPS: [(i32, &str, &str); 4] = [
        (ebpf::AluOp::Add as i32, "+=", "add"),
        (ebpf::AluOp::Or as i32, "|=", "or"),
        (ebpf::AluOp::And as i32, "&=", "and"),
        (ebpf::AluOp::Xor as i32, "^=", "xor"),
    ];
    let (dst, src, off) = (insn.dst(), insn.src(), insn.off);
    let wide = if size == Size::Double { "64" } else { "" };
    let size = memory(size);
    match insn.imm {
        XCHG => write!(f, "r{src} = atomic{wide}_xchg(({size} *)(r{dst} {off:+}), r{src})"),
        CMPXCHG => write!(f, "r0 = atomic{wide}_cmpxchg(({size} *)(r{dst} {off:+}), r0, r{src})"),
        imm => match OPS.iter().find(|(op, ..)| *op == imm & !FETCH) {
            Some((_, sign, _)) if imm & FETCH == 0 => {
                write!(f, "lock *({size} *)(r{dst} {off:+}) {sign} r{src}")
            }
            Some((_, _, name)) => {
                write!(f, "r{src} = atomic{wide}_fetch_{name}(({size} *)(r{dst} {off:+}), r{src})")
            }
            None => f.write_str("(unknown)"),
        },
    }
}

const fn prefix(width: ebpf::Width) -> char {
    match width {
        ebpf::Width::W32 => 'w',
        ebpf::Width::W64 => 'r',
    }
}

const fn memory(size: Size) -> &'static str {
    match size {
        Size::Byte => "u8",
        Size::Half => "u16",
        Size::Word => "u32",
        Size::Double => "u64",
    }
}

const fn alu_sign(op: ebpf::AluOp) -> &'static str {
    match op {
        ebpf::AluOp::Add => "+=",
        ebpf::AluOp::Sub => "-=",
        ebpf::AluOp::Mul => "*=",
        ebpf::AluOp::Div => "/=",
        ebpf::AluOp::Or => "|=",
        ebpf::AluOp::And => "&=",
        ebpf::AluOp::Lsh => "<<=",
        ebpf::AluOp::Rsh => ">>=",
        ebpf::AluOp::Mod => "%=",
        ebpf::AluOp::Xor => "^=",
        ebpf::AluOp::Mov => "=",
        ebpf::AluOp::Arsh => "s>>=",
    }
}

const fn cond_sign(cond: ebpf::Cond) -> &'static str {
    match cond {
        ebpf::Cond::Eq => "==",
        ebpf::Cond::Gt => ">",
        ebpf::Cond::Ge => ">=",
        ebpf::Cond::Set => "&",
        ebpf::Cond::Ne => "!=",
        ebpf::Cond::Sgt => "s>",
        ebpf::Cond::Sge => "s>=",
        ebpf::Cond::Lt => "<",
        ebpf::Cond::Le => "<=",
        ebpf::Cond::Slt => "s<",
        ebpf::Cond::Sle => "s<=",
    }
}
