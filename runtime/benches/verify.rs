//! What verifying an eBPF filter costs.

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{AluOp, Cond, Opcode, Size, Source, Width};
use divan::{Bencher, black_box};
use seccomp_runtime::verifier::{
    Arg, Environment, Helper, MapAccess, MapDescriptor, MapKind, Program, Prototype, Return, verify,
};

const MAPS: [MapDescriptor; 1] = [MapDescriptor {
    kind: MapKind::Array,
    key_size: 4,
    value_size: 64,
    max_entries: 1,
    access: MapAccess::ReadWrite,
}];

const LOOKUP: Helper = Helper {
    id: 1,
    prototype: Prototype {
        args: [
            Arg::Map { kinds: &[MapKind::Array], writes: false },
            Arg::Key,
            Arg::None,
            Arg::None,
            Arg::None,
        ],
        returns: Return::MapValueOrNull,
    },
};

const ENVIRONMENT: Environment<'static> = Environment { maps: &MAPS, helpers: &[LOOKUP] };

const fn insn(opcode: Opcode, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn::new(opcode.code(), dst, src, off, imm)
}

const fn alu(op: AluOp, dst: u8, imm: i32) -> Insn {
    insn(Opcode::Alu(Width::W64, op, Source::Imm), dst, 0, 0, imm)
}

const fn alu_reg(op: AluOp, dst: u8, src: u8) -> Insn {
    insn(Opcode::Alu(Width::W64, op, Source::Reg), dst, src, 0, 0)
}

const fn jump(cond: Cond, dst: u8, imm: i32, off: i16) -> Insn {
    insn(Opcode::Jump(Width::W64, cond, Source::Imm), dst, 0, off, imm)
}

/// What a filter does for one system call: counts it, up to a limit, and looks at a byte by an argument.
fn block(nr: i32) -> [Insn; 22] {
    [
        insn(Opcode::Load(Size::Word), 1, 6, 0, 0),
        jump(Cond::Ne, 1, nr, 12),
        insn(Opcode::StoreImm(Size::Word), 10, 0, -4, nr),
        alu_reg(AluOp::Mov, 2, 10),
        alu(AluOp::Add, 2, -4),
        insn(Opcode::LoadImm64, 1, 1, 0, 0),
        Insn::default(),
        insn(Opcode::Call, 0, 0, 0, 1),
        jump(Cond::Eq, 0, 0, 5),
        insn(Opcode::Load(Size::Double), 1, 0, 0, 0),
        alu(AluOp::Add, 1, 1),
        insn(Opcode::Store(Size::Double), 0, 1, 0, 0),
        jump(Cond::Le, 1, 1000, 1),
        alu(AluOp::Add, 7, 1),
        insn(Opcode::Load(Size::Double), 2, 6, 16, 0),
        jump(Cond::Gt, 2, 63, 5),
        insn(Opcode::LoadImm64, 3, 2, 0, 0),
        Insn::default(),
        alu_reg(AluOp::Add, 3, 2),
        insn(Opcode::Load(Size::Byte), 4, 3, 0, 0),
        alu_reg(AluOp::Add, 7, 4),
        alu(AluOp::Xor, 7, nr),
    ]
}

fn program(len: usize) -> Program {
    let mut insns = vec![alu_reg(AluOp::Mov, 6, 1), alu(AluOp::Mov, 7, 0)];
    for nr in 0.. {
        if insns.len() + 24 > len {
            break;
        }
        insns.extend(block(nr));
    }
    insns.resize(len - 2, alu(AluOp::Add, 7, 1));
    insns.extend([alu_reg(AluOp::Mov, 0, 7), insn(Opcode::Exit, 0, 0, 0, 0)]);
    Program::new(insns)
}

fn main() {
    divan::main();
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn verified(bencher: Bencher<'_, '_>, len: usize) {
    let program = program(len);
    bencher.bench(|| verify(black_box(program.clone()), &ENVIRONMENT).expect("it is safe"));
}

/// A loop that runs until the walk's bound is near.
#[divan::bench(args = [1_000, 100_000])]
fn looped(bencher: Bencher<'_, '_>, turns: i32) {
    let program = Program::new(vec![
        alu(AluOp::Mov, 0, 0),
        alu(AluOp::Mov, 1, turns),
        alu(AluOp::Add, 0, 3),
        alu(AluOp::Sub, 1, 1),
        jump(Cond::Ne, 1, 0, -3),
        insn(Opcode::Exit, 0, 0, 0, 0),
    ]);
    bencher.bench(|| verify(black_box(program.clone()), &ENVIRONMENT).expect("it is safe"));
}
