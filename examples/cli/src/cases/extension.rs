//! eBPF filters that the benchmarks run and verify.

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{AluOp, Cond, Opcode, Size, Source, Width};
use cbpf_translator::seccomp::RET_ALLOW;
use seccomp_runtime::verifier::{MapAccess, MapDescriptor, MapKind};

/// Numbers of helpers: `map_lookup_elem` and `get_current_pid_tgid`.
const LOOKUP: i32 = 1;
const PID_TGID: i32 = 14;

/// What a counter has room for.
pub const COUNTED: u32 = 512;

/// The map of [`counting`] and [`looking_up`]: a number for each system call.
pub const COUNTS: MapDescriptor = MapDescriptor {
    kind: MapKind::Array,
    key_size: 4,
    value_size: 8,
    max_entries: COUNTED,
    access: MapAccess::ReadWrite,
};

/// The map of [`long`].
pub const TABLE: MapDescriptor = MapDescriptor { value_size: 64, max_entries: 1, ..COUNTS };

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

const EXIT: Insn = insn(Opcode::Exit, 0, 0, 0, 0);
const ALLOW: Insn = alu(AluOp::Mov, 0, RET_ALLOW.cast_signed());

/// Allows everything but one value of the first argument: no plan answers for it.
pub fn reading() -> Vec<Insn> {
    let deny = jump(Cond::Eq, 2, -1, 1);
    vec![insn(Opcode::Load(Size::Double), 2, 1, 16, 0), ALLOW, deny, EXIT, alu(AluOp::Mov, 0, 0), EXIT]
}

/// Asks a helper that takes nothing, and allows.
pub fn asking() -> Vec<Insn> {
    vec![insn(Opcode::Call, 0, 0, 0, PID_TGID), ALLOW, EXIT]
}

/// Looks the number up in [`COUNTS`], and allows.
pub fn looking_up() -> Vec<Insn> {
    let mut insns = lookup().to_vec();
    insns.extend([ALLOW, EXIT]);
    insns
}

/// Counts the call by its number in [`COUNTS`], and allows.
pub fn counting() -> Vec<Insn> {
    let mut insns = lookup().to_vec();
    insns.extend([
        jump(Cond::Eq, 0, 0, 3),
        insn(Opcode::Load(Size::Double), 1, 0, 0, 0),
        alu(AluOp::Add, 1, 1),
        insn(Opcode::Store(Size::Double), 0, 1, 0, 0),
        ALLOW,
        EXIT,
    ]);
    insns
}

/// r0 = the value of the number, or null.
fn lookup() -> [Insn; 7] {
    [
        insn(Opcode::Load(Size::Word), 2, 1, 0, 0),
        insn(Opcode::Store(Size::Word), 10, 2, -4, 0),
        alu_reg(AluOp::Mov, 2, 10),
        alu(AluOp::Add, 2, -4),
        insn(Opcode::LoadImm64, 1, 1, 0, 0),
        Insn::default(),
        insn(Opcode::Call, 0, 0, 0, LOOKUP),
    ]
}

/// A safe filter of `len` instructions, at least 32, over [`TABLE`]: as many blocks as there is room for.
pub fn long(len: usize) -> Vec<Insn> {
    let mut insns = vec![alu_reg(AluOp::Mov, 6, 1), alu(AluOp::Mov, 7, 0)];
    for nr in 0.. {
        let block = block(nr);
        if insns.len() + block.len() + 2 > len {
            break;
        }
        insns.extend(block);
    }
    insns.resize(len - 2, alu(AluOp::Add, 7, 1));
    insns.extend([alu_reg(AluOp::Mov, 0, 7), EXIT]);
    insns
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
        insn(Opcode::Call, 0, 0, 0, LOOKUP),
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

/// A safe filter that does nothing `turns` times.
pub fn looped(turns: i32) -> Vec<Insn> {
    vec![
        alu(AluOp::Mov, 0, 0),
        alu(AluOp::Mov, 1, turns),
        alu(AluOp::Add, 0, 3),
        alu(AluOp::Sub, 1, 1),
        jump(Cond::Ne, 1, 0, -3),
        EXIT,
    ]
}
