//! eBPF out of the text that listings print, with labels.
//!
//! ```text
//! line  = [ label ':' ] [ insn ]         ';' parts lines too, '#' begins a comment
//! insn  = reg op (reg | number)          r for 64 bits, w for 32; op is =, +=, s>>= and so on
//!       | reg '=' '-' reg | reg '=' ('le' | 'be') bits reg
//!       | reg '=' number 'll'            a 64-bit load, also of what does not fit 32 bits
//!       | reg '=' 'map[' index ']' [ '[0]+' offset ]
//!       | reg '=' '*(' size '*)(' reg offset ')'
//!       | '*(' size '*)(' reg offset ')' '=' (reg | number)
//!       | 'if' reg cond (reg | number) 'goto' to | 'goto' to
//!       | 'call' number | 'call' label | 'call pc' offset | 'exit'
//!       | 'raw' code dst src off imm     any fields
//! to    = label | offset                 an offset has a sign
//! ```

use std::collections::HashMap;

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{AluOp, Cond, Opcode, Size, Source, Width};

/// The program of a text.
///
/// # Errors
///
/// A line is none, or a label is not there.
pub fn assemble(text: &str) -> Result<Vec<Insn>, String> {
    let mut insns = Vec::new();
    let mut labels = HashMap::new();
    let mut jumps = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or("")).flat_map(|l| l.split(';')) {
        let mut line = line.trim();
        while let Some((label, rest)) = line.split_once(':') {
            if labels.insert(label.trim(), insns.len()).is_some() {
                return Err(format!("label {label:?} is there twice"));
            }
            line = rest.trim();
        }
        if !line.is_empty() {
            let to = insn(line, &mut insns).ok_or_else(|| format!("no instruction: {line:?}"))?;
            if let Some(label) = to {
                jumps.push((insns.len() - 1, label));
            }
        }
    }
    for (pc, label) in jumps {
        let target = labels.get(label).ok_or_else(|| format!("label {label:?} is not defined"))?;
        let distance = *target as i64 - pc as i64 - 1;
        let insn: &mut Insn = &mut insns[pc];
        if Opcode::decode(insn.code) == Some(Opcode::Call) {
            insn.imm = distance.try_into().map_err(|_| "a call goes too far")?;
        } else {
            insn.off = distance.try_into().map_err(|_| "a jump goes too far")?;
        }
    }
    Ok(insns)
}

/// Appends an instruction; the label it jumps to, if it names one.
fn insn<'a>(line: &'a str, insns: &mut Vec<Insn>) -> Option<Option<&'a str>> {
    let mut push =
        |opcode: Opcode, dst, src, off, imm| insns.push(Insn::new(opcode.code(), dst, src, off, imm));
    if line == "exit" {
        push(Opcode::Exit, 0, 0, 0, 0);
        return Some(None);
    }
    if let Some(fields) = line.strip_prefix("raw ") {
        let fields: Vec<i64> = fields.split_whitespace().map(number).collect::<Option<_>>()?;
        let [code, dst, src, off, imm] = fields.try_into().ok()?;
        let (code, dst, src) = (code.try_into().ok()?, dst.try_into().ok()?, src.try_into().ok()?);
        insns.push(Insn::new(code, dst, src, off.try_into().ok()?, imm as i32));
        return Some(None);
    }
    if let Some(target) = line.strip_prefix("goto ") {
        let (off, label) = target_of(target)?;
        push(Opcode::Ja, 0, 0, off, 0);
        return Some(label);
    }
    if let Some(callee) = line.strip_prefix("call ") {
        if let Some(offset) = callee.strip_prefix("pc") {
            push(Opcode::Call, 0, 1, 0, number(offset)? as i32);
        } else if let Some(id) = number(callee) {
            push(Opcode::Call, 0, 0, 0, id as i32);
        } else {
            push(Opcode::Call, 0, 1, 0, 0);
            return Some(Some(callee));
        }
        return Some(None);
    }
    if let Some(rest) = line.strip_prefix("if ") {
        let (condition, target) = rest.split_once(" goto ")?;
        let mut words = condition.split_whitespace();
        let (width, dst) = register(words.next()?)?;
        let cond = cond(words.next()?)?;
        let operand = words.next()?;
        let (off, label) = target_of(target)?;
        match register(operand) {
            Some((_, src)) => push(Opcode::Jump(width, cond, Source::Reg), dst, src, off, 0),
            None => push(Opcode::Jump(width, cond, Source::Imm), dst, 0, off, immediate(operand)?),
        }
        return Some(label);
    }
    if line.starts_with("*(") {
        let (to, what) = line.split_once('=')?;
        let (size, base, off) = memory(to.trim())?;
        match register(what.trim()) {
            Some((_, src)) => push(Opcode::Store(size), base, src, off, 0),
            None => push(Opcode::StoreImm(size), base, 0, off, immediate(what.trim())?),
        }
        return Some(None);
    }
    let (dst, rest) = line.split_once(' ')?;
    let (width, dst) = register(dst)?;
    let (op, operand) = rest.trim().split_once(' ')?;
    let operand = operand.trim();
    let op = alu(op)?;
    if op == AluOp::Mov {
        if let Some(from) = operand.strip_prefix('-').and_then(register) {
            (from.1 == dst).then(|| push(Opcode::Neg(width), dst, 0, 0, 0))?;
            return Some(None);
        }
        if operand.starts_with("*(") {
            let (size, base, off) = memory(operand)?;
            push(Opcode::Load(size), dst, base, off, 0);
            return Some(None);
        }
        if let Some(map) = operand.strip_prefix("map[") {
            let (map, offset) = map.split_once(']')?;
            let offset = offset.strip_prefix("[0]+");
            let src = if offset.is_some() { 2 } else { 1 };
            push(Opcode::LoadImm64, dst, src, 0, number(map)? as i32);
            insns.push(Insn::new(0, 0, 0, 0, offset.map_or(Some(0), number)? as i32));
            return Some(None);
        }
        for (prefix, opcode) in [("le", Opcode::ToLe), ("be", Opcode::ToBe)] {
            if let Some((bits, _)) = operand.strip_prefix(prefix).and_then(|rest| rest.split_once(' ')) {
                push(opcode, dst, 0, 0, number(bits)? as i32);
                return Some(None);
            }
        }
        let constant = operand.strip_suffix("ll").map(str::trim_end);
        let value = number(constant.unwrap_or(operand));
        if let Some(value) = value
            && (constant.is_some() || i32::try_from(value).is_err() && width == Width::W64)
        {
            push(Opcode::LoadImm64, dst, 0, 0, value as i32);
            insns.push(Insn::new(0, 0, 0, 0, (value >> 32) as i32));
            return Some(None);
        }
    }
    match register(operand) {
        Some((_, src)) => push(Opcode::Alu(width, op, Source::Reg), dst, src, 0, 0),
        None => push(Opcode::Alu(width, op, Source::Imm), dst, 0, 0, immediate(operand)?),
    }
    Some(None)
}

/// An offset, or a label for later.
fn target_of(text: &str) -> Option<(i16, Option<&str>)> {
    let text = text.trim();
    if text.starts_with(['+', '-']) {
        return Some((number(text)?.try_into().ok()?, None));
    }
    Some((0, Some(text)))
}

fn register(text: &str) -> Option<(Width, u8)> {
    let width = match text.chars().next()? {
        'r' => Width::W64,
        'w' => Width::W32,
        _ => return None,
    };
    Some((width, text[1..].parse().ok().filter(|number| *number <= 15)?))
}

/// `*(u32 *)(r2 +4)`.
fn memory(text: &str) -> Option<(Size, u8, i16)> {
    let (size, address) = text.strip_prefix("*(")?.split_once("*)")?;
    let size = match size.trim() {
        "u8" => Size::Byte,
        "u16" => Size::Half,
        "u32" => Size::Word,
        "u64" => Size::Double,
        _ => return None,
    };
    let address = address.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (base, off) = address.split_at(address.find(['+', '-', ' ']).unwrap_or(address.len()));
    let off: String = off.split_whitespace().collect();
    let off = if off.is_empty() { 0 } else { number(&off)? };
    Some((size, register(base)?.1, off.try_into().ok()?))
}

/// A number of 32 bits, signed or not.
fn immediate(text: &str) -> Option<i32> {
    let number = number(text)?;
    i32::try_from(number).ok().or_else(|| Some(u32::try_from(number).ok()?.cast_signed()))
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    let value = magnitude.cast_signed();
    Some(if negative { value.wrapping_neg() } else { value })
}

fn alu(sign: &str) -> Option<AluOp> {
    Some(match sign {
        "=" => AluOp::Mov,
        "+=" => AluOp::Add,
        "-=" => AluOp::Sub,
        "*=" => AluOp::Mul,
        "/=" => AluOp::Div,
        "%=" => AluOp::Mod,
        "|=" => AluOp::Or,
        "&=" => AluOp::And,
        "^=" => AluOp::Xor,
        "<<=" => AluOp::Lsh,
        ">>=" => AluOp::Rsh,
        "s>>=" => AluOp::Arsh,
        _ => return None,
    })
}

fn cond(sign: &str) -> Option<Cond> {
    Some(match sign {
        "==" => Cond::Eq,
        "!=" => Cond::Ne,
        "&" => Cond::Set,
        ">" => Cond::Gt,
        ">=" => Cond::Ge,
        "<" => Cond::Lt,
        "<=" => Cond::Le,
        "s>" => Cond::Sgt,
        "s>=" => Cond::Sge,
        "s<" => Cond::Slt,
        "s<=" => Cond::Sle,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use cbpf_translator::disasm::EbpfListing;

    use super::*;

    #[test]
    fn a_listing_is_the_text_of_its_program() {
        let mut program = Vec::new();
        for code in 0..=u8::MAX {
            let Some(opcode) = Opcode::decode(code) else { continue };
            let insn = match opcode {
                Opcode::Alu(_, _, Source::Imm) => Insn::new(code, 1, 0, 0, -7),
                Opcode::Alu(_, _, Source::Reg) => Insn::new(code, 1, 2, 0, 0),
                Opcode::Neg(_) => Insn::new(code, 3, 0, 0, 0),
                Opcode::ToLe | Opcode::ToBe => Insn::new(code, 4, 0, 0, 16),
                Opcode::Ja => Insn::new(code, 0, 0, -9, 0),
                Opcode::Jump(_, _, Source::Imm) => Insn::new(code, 5, 0, 3, -1),
                Opcode::Jump(_, _, Source::Reg) => Insn::new(code, 5, 6, -3, 0),
                Opcode::Call => Insn::new(code, 0, 1, 0, -4),
                Opcode::Exit => Insn::new(code, 0, 0, 0, 0),
                Opcode::Load(_) => Insn::new(code, 1, 2, -8, 0),
                Opcode::StoreImm(_) => Insn::new(code, 10, 0, -8, -3),
                Opcode::Store(_) => Insn::new(code, 10, 7, -8, 0),
                Opcode::LoadImm64 => {
                    program.push(Insn::new(code, 9, 2, 0, 4));
                    Insn::new(0, 0, 0, 0, 16)
                }
                Opcode::LoadAbs(_) | Opcode::LoadInd(_) | Opcode::Atomic(_) => continue,
            };
            program.push(insn);
        }
        let listing = EbpfListing(&program).to_string();
        let lines = listing.lines().map(|line| &line["    0: 00 00 00 00 00 00 00 00  ".len()..]);
        let text: Vec<_> = lines.filter(|line| *line != "(second half)").collect();
        assert_eq!(assemble(&text.join("\n")), Ok(program));
    }
}
