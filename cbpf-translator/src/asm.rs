//! Classic programs from text.
//!
//! The syntax is that of the kernel's `bpf_asm` (`tools/bpf`), which is free-form: line ends separate
//! nothing. On top of it come comments that begin with `//`, constants by name, `|` between constants, and
//! raw instructions as `bpf_asm -c` prints them:
//!
//! ```text
//!         ld [4]                        ; arch
//!         jne #AUDIT_ARCH_X86_64, kill
//!         ld [0]                        /* nr */
//!         jeq #openat, deny
//!         { 0x06, 0, 0, 0x7fff0000 },   // ret #SECCOMP_RET_ALLOW
//! deny:   ret #SECCOMP_RET_ERRNO|1
//! kill:   ret #0x80000000
//! ```
//!
//! Not accepted are the packet extensions and `ret x`, which no seccomp filter can have.

mod error;
mod lexer;

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::mem;
use core::num::IntErrorKind;

pub use error::{AsmError, AsmErrorKind};

use crate::cbpf::{MAX_INSNS, OPCODES, Opcode, SockFilter, Source};
use crate::seccomp;
use lexer::{Lexer, Token};

/// How an instruction's operand is written; the disassembler writes the same forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Not at all.
    None,
    /// `#k`
    Constant,
    /// `len`
    Len,
    /// `[k]`
    Absolute,
    /// `[x + k]`
    Indirect,
    /// `M[k]`
    Scratch,
    /// `4*([k]&0xf)`
    HeaderLen,
    /// `x`
    X,
    /// `a`
    A,
    /// A label.
    Target,
}

impl Form {
    /// The form of an operation's operand. No two operations share a mnemonic and a form.
    pub(crate) const fn of(opcode: Opcode) -> Self {
        match opcode {
            Opcode::LdImm | Opcode::LdxImm | Opcode::RetK => Self::Constant,
            Opcode::Alu(_, Source::K) | Opcode::Jump(_, Source::K) => Self::Constant,
            Opcode::Alu(_, Source::X) | Opcode::Jump(_, Source::X) => Self::X,
            Opcode::LdAbs(_) => Self::Absolute,
            Opcode::LdInd(_) => Self::Indirect,
            Opcode::LdLen | Opcode::LdxLen => Self::Len,
            Opcode::LdMem | Opcode::LdxMem | Opcode::St | Opcode::Stx => Self::Scratch,
            Opcode::LdxMsh => Self::HeaderLen,
            Opcode::Ja => Self::Target,
            Opcode::RetA => Self::A,
            Opcode::Neg | Opcode::Tax | Opcode::Txa => Self::None,
        }
    }
}

/// A second name for an instruction.
struct Alias {
    name: &'static str,
    mnemonic: &'static str,
    reading: Reading,
}

/// What an alias changes besides the name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Same,
    /// The comparison is the opposite, so the branches are exchanged.
    Swapped,
    /// The operand is a constant, with or without `#`.
    Constant,
}

const fn alias(name: &'static str, mnemonic: &'static str, reading: Reading) -> Alias {
    Alias { name, mnemonic, reading }
}

const ALIASES: [Alias; 7] = [
    alias("ja", "jmp", Reading::Same),
    alias("jne", "jeq", Reading::Swapped),
    alias("jneq", "jeq", Reading::Swapped),
    alias("jlt", "jge", Reading::Swapped),
    alias("jle", "jgt", Reading::Swapped),
    alias("ldi", "ld", Reading::Constant),
    alias("ldxi", "ldx", Reading::Constant),
];

/// The values that `bpf_asm` lets a socket filter load by name.
const PACKET_EXTENSIONS: [&str; 16] = [
    "cpu",
    "hatype",
    "ifidx",
    "mark",
    "nla",
    "nlan",
    "poff",
    "proto",
    "queue",
    "rand",
    "rxhash",
    "type",
    "vlan_avail",
    "vlan_pr",
    "vlan_tci",
    "vlan_tpid",
];

/// Assembles a classic program. `names` gives the numbers of names that are not of seccomp or audit, such
/// as those of syscalls; it is asked without their prefix `__NR_`.
///
/// The result has 1 to [`MAX_INSNS`] instructions. Nothing else about it is checked
/// ([`check`](crate::check) does that).
///
/// # Errors
///
/// The first place where the text is not a program; labels are looked at last.
pub fn assemble<'a>(
    source: &'a str,
    names: &dyn Fn(&str) -> Option<u32>,
) -> Result<Vec<SockFilter>, AsmError<'a>> {
    let mut lexer = Lexer::new(source);
    let peek = lexer.next_token();
    let mut parser =
        Parser { source, names, lexer, peek, end: 0, lines: Vec::new(), labels: BTreeMap::new() };
    parser.program()?;
    parser.resolve()
}

/// An instruction whose jumps are still labels.
#[derive(Default)]
struct Line<'a> {
    insn: SockFilter,
    jt: Option<Token<'a>>,
    jf: Option<Token<'a>>,
    ja: Option<Token<'a>>,
}

struct Parser<'a, 'n> {
    source: &'a str,
    names: &'n dyn Fn(&str) -> Option<u32>,
    lexer: Lexer<'a>,
    peek: Token<'a>,
    /// Where the current statement ends as far as it has been read.
    end: usize,
    lines: Vec<Line<'a>>,
    /// The index of the instruction after each label.
    labels: BTreeMap<&'a str, usize>,
}

impl<'a> Parser<'a, '_> {
    fn program(&mut self) -> Result<(), AsmError<'a>> {
        let mut label = None;
        while !self.peek.is_end_of_source() {
            label = self.statement()?;
        }
        if let Some(label) = label {
            return Err(self.error(label.at, AsmErrorKind::DanglingLabel(label.text)));
        }
        if self.lines.is_empty() {
            return Err(self.error(0, AsmErrorKind::Empty));
        }
        Ok(())
    }

    /// Reads an instruction, or a label, which it gives back.
    fn statement(&mut self) -> Result<Option<Token<'a>>, AsmError<'a>> {
        self.end = self.peek.at;
        let first = self.peek;
        let line = if self.take("{") {
            self.raw()?
        } else {
            let word = self.word("an instruction")?;
            if self.take(":") {
                return match self.labels.entry(word.text) {
                    Entry::Vacant(entry) => {
                        entry.insert(self.lines.len());
                        Ok(Some(word))
                    }
                    Entry::Occupied(_) => Err(self.error(word.at, AsmErrorKind::DuplicateLabel(word.text))),
                };
            }
            self.instruction(word)?
        };
        if self.lines.len() == MAX_INSNS {
            return Err(self.error(first.at, AsmErrorKind::TooLong));
        }
        self.lines.push(line);
        Ok(None)
    }

    /// The rest of a raw instruction, `code, jt, jf, k }`, and an optional comma.
    fn raw(&mut self) -> Result<Line<'a>, AsmError<'a>> {
        let code = self.field(u16::BITS)?;
        self.expect(",")?;
        let jt = self.field(u8::BITS)?;
        self.expect(",")?;
        let jf = self.field(u8::BITS)?;
        self.expect(",")?;
        let k = self.number()?;
        self.expect("}")?;
        self.take(",");
        Ok(Line { insn: SockFilter::new(code, jt, jf, k), ..Line::default() })
    }

    /// The rest of the instruction called `word`.
    fn instruction(&mut self, word: Token<'a>) -> Result<Line<'a>, AsmError<'a>> {
        let (mnemonic, reading) = ALIASES
            .iter()
            .find(|alias| word.is(alias.name))
            .map_or((word.text, Reading::Same), |alias| (alias.mnemonic, alias.reading));
        let Some(any) = OPCODES.iter().find(|row| row.mnemonic.eq_ignore_ascii_case(mnemonic)) else {
            return Err(self.error(word.at, AsmErrorKind::UnknownInstruction(word.text)));
        };

        let start = self.peek.at;
        let (form, k) = match (Form::of(any.opcode), reading) {
            (form @ (Form::None | Form::Target), _) => (form, 0),
            (_, Reading::Constant) => {
                self.take("#");
                (Form::Constant, self.number()?)
            }
            _ => self.operand()?,
        };
        // With this operand, and only with it, `ldx` is a second name of `ldxb`.
        let mnemonic = match form {
            Form::HeaderLen if any.mnemonic == "ldx" => "ldxb",
            _ => any.mnemonic,
        };
        let Some(row) = OPCODES.iter().find(|row| row.mnemonic == mnemonic && Form::of(row.opcode) == form)
        else {
            let operand = self.text_from(start);
            return Err(self.error(start, AsmErrorKind::Operand { mnemonic: word.text, operand }));
        };

        let mut line = Line { insn: SockFilter::new(row.code, 0, 0, k), ..Line::default() };
        match row.opcode {
            Opcode::Ja => line.ja = Some(self.word("a label")?),
            Opcode::Jump(..) => {
                self.expect(",")?;
                line.jt = Some(self.word("a label")?);
                if self.take(",") {
                    line.jf = Some(self.word("a label")?);
                }
                if reading == Reading::Swapped {
                    mem::swap(&mut line.jt, &mut line.jf);
                }
            }
            _ => {}
        }
        Ok(line)
    }

    fn operand(&mut self) -> Result<(Form, u32), AsmError<'a>> {
        if self.take("#") {
            return if self.take("len") { Ok((Form::Len, 0)) } else { Ok((Form::Constant, self.number()?)) };
        }
        if self.take("len") {
            return Ok((Form::Len, 0));
        }
        if self.take_register("x") {
            return Ok((Form::X, 0));
        }
        if self.take_register("a") {
            return Ok((Form::A, 0));
        }
        if self.take("M") {
            self.expect("[")?;
            let k = self.number()?;
            self.expect("]")?;
            return Ok((Form::Scratch, k));
        }
        if self.take("[") {
            let form = if self.take_register("x") {
                self.expect("+")?;
                Form::Indirect
            } else {
                Form::Absolute
            };
            let k = self.number()?;
            self.expect("]")?;
            return Ok((form, k));
        }
        if self.peek.is_number() && self.second().is("*") {
            self.literal(4, "4")?;
            self.expect("*")?;
            self.expect("(")?;
            self.expect("[")?;
            let k = self.number()?;
            self.expect("]")?;
            self.expect("&")?;
            self.literal(0xf, "0xf")?;
            self.expect(")")?;
            return Ok((Form::HeaderLen, k));
        }
        if is_packet_extension(self.peek) {
            return Err(self.error(self.peek.at, AsmErrorKind::PacketExtension(self.peek.text)));
        }
        Err(self.unexpected("an operand such as #1"))
    }

    /// A number that can only be `value`.
    fn literal(&mut self, value: u32, expected: &'static str) -> Result<(), AsmError<'a>> {
        let found = self.peek;
        if self.number()? == value {
            return Ok(());
        }
        Err(self.error(found.at, AsmErrorKind::Unexpected { found: self.text_from(found.at), expected }))
    }

    /// A number for a field of `bits` bits.
    fn field<T: TryFrom<u32>>(&mut self, bits: u32) -> Result<T, AsmError<'a>> {
        let start = self.peek.at;
        let value = self.number()?;
        T::try_from(value).map_err(|_| self.out_of_range(start, bits))
    }

    /// Numbers and names, joined by `|`.
    fn number(&mut self) -> Result<u32, AsmError<'a>> {
        let mut value = self.term()?;
        while self.take("|") {
            value |= self.term()?;
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<u32, AsmError<'a>> {
        let start = self.peek.at;
        let negative = self.take("-");
        let signed = negative || self.take("+");
        let token = self.peek;
        if token.is_word() && !signed {
            self.advance();
            return self.constant(token);
        }
        if !token.is_number() {
            return Err(self.unexpected("a number"));
        }
        self.advance();
        let magnitude = match magnitude(token.text) {
            Ok(magnitude) => magnitude,
            Err(IntErrorKind::PosOverflow) => return Err(self.out_of_range(start, u32::BITS)),
            Err(_) => return Err(self.error(token.at, AsmErrorKind::MalformedNumber(token.text))),
        };
        // From -2^31, as two's complement, to 2^32 - 1.
        let value = if negative {
            let value = 0i64.checked_sub_unsigned(magnitude);
            value.and_then(|value| i32::try_from(value).ok()).map(i32::cast_unsigned)
        } else {
            u32::try_from(magnitude).ok()
        };
        value.ok_or_else(|| self.out_of_range(start, u32::BITS))
    }

    /// The number of a name.
    fn constant(&self, name: Token<'a>) -> Result<u32, AsmError<'a>> {
        let mut own = seccomp::RET_NAMES.iter().chain(&seccomp::AUDIT_ARCH_NAMES);
        if let Some((_, value)) = own.find(|(own, _)| *own == name.text) {
            return Ok(*value);
        }
        let syscall = name.text.strip_prefix("__NR_").unwrap_or(name.text);
        (self.names)(syscall).ok_or_else(|| {
            let kind = if is_packet_extension(name) {
                AsmErrorKind::PacketExtension(name.text)
            } else {
                AsmErrorKind::UnknownName(name.text)
            };
            self.error(name.at, kind)
        })
    }

    fn word(&mut self, expected: &'static str) -> Result<Token<'a>, AsmError<'a>> {
        if self.peek.is_word() { Ok(self.advance()) } else { Err(self.unexpected(expected)) }
    }

    fn expect(&mut self, text: &'static str) -> Result<(), AsmError<'a>> {
        if self.take(text) { Ok(()) } else { Err(self.unexpected(text)) }
    }

    /// Takes the next token if it is this one.
    fn take(&mut self, text: &str) -> bool {
        let is = self.peek.is(text);
        if is {
            self.advance();
        }
        is
    }

    /// Takes a register, which may have a `%` before its name.
    fn take_register(&mut self, name: &str) -> bool {
        if self.peek.is("%") && self.second().is(name) {
            self.advance();
        }
        self.take(name)
    }

    fn advance(&mut self) -> Token<'a> {
        let next = self.lexer.next_token();
        let token = mem::replace(&mut self.peek, next);
        self.end = token.end();
        token
    }

    /// The token after the next one.
    fn second(&self) -> Token<'a> {
        self.lexer.clone().next_token()
    }

    /// What the current statement has from `start` on.
    fn text_from(&self, start: usize) -> &'a str {
        self.source.get(start..self.end).unwrap_or("")
    }

    /// The instructions, with distances for labels.
    fn resolve(&self) -> Result<Vec<SockFilter>, AsmError<'a>> {
        let resolve = |(pc, line): (usize, &Line<'a>)| {
            let mut insn = line.insn;
            if let Some(label) = line.ja {
                // Less than MAX_INSNS.
                insn.k = self.distance(pc, label)? as u32;
            }
            if let Some(label) = line.jt {
                insn.jt = self.near(pc, label)?;
            }
            if let Some(label) = line.jf {
                insn.jf = self.near(pc, label)?;
            }
            Ok(insn)
        };
        self.lines.iter().enumerate().map(resolve).collect()
    }

    /// Instructions to skip from the one at `pc` to a label.
    fn distance(&self, pc: usize, label: Token<'a>) -> Result<usize, AsmError<'a>> {
        let target = self
            .labels
            .get(label.text)
            .ok_or_else(|| self.error(label.at, AsmErrorKind::UndefinedLabel(label.text)))?;
        target
            .checked_sub(pc.saturating_add(1))
            .ok_or_else(|| self.error(label.at, AsmErrorKind::BackwardJump(label.text)))
    }

    /// [`distance`](Self::distance) for a conditional jump.
    fn near(&self, pc: usize, label: Token<'a>) -> Result<u8, AsmError<'a>> {
        let distance = self.distance(pc, label)?;
        u8::try_from(distance)
            .map_err(|_| self.error(label.at, AsmErrorKind::JumpDistance { label: label.text, distance }))
    }

    /// The next token is not what the grammar continues with.
    fn unexpected(&self, expected: &'static str) -> AsmError<'a> {
        let next = self.peek;
        if next.text == Lexer::UNCLOSED {
            return self.error(next.at, AsmErrorKind::UnclosedComment);
        }
        // The statement goes wrong where its line ends, not where the next one begins.
        let between = self.source.get(self.end..next.at).unwrap_or("");
        if next.is_end_of_source() || between.contains('\n') {
            return self.error(self.end, AsmErrorKind::Unexpected { found: "", expected });
        }
        self.error(next.at, AsmErrorKind::Unexpected { found: next.text, expected })
    }

    /// The number from `start` on is outside of a field.
    fn out_of_range(&self, start: usize, bits: u32) -> AsmError<'a> {
        self.error(start, AsmErrorKind::NumberRange { number: self.text_from(start), bits })
    }

    fn error(&self, at: usize, kind: AsmErrorKind<'a>) -> AsmError<'a> {
        let before = self.source.get(..at).unwrap_or(self.source);
        let column = before.chars().rev().take_while(|c| *c != '\n').count().saturating_add(1);
        AsmError { line: before.split('\n').count(), column, kind }
    }
}

fn is_packet_extension(token: Token<'_>) -> bool {
    PACKET_EXTENSIONS.iter().any(|name| token.is(name))
}

/// The value of a number without a sign: decimal, or as in C with `0x`, `0b` or `0` in front.
fn magnitude(number: &str) -> Result<u64, IntErrorKind> {
    let (radix, digits) = match number.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, number.get(2..)),
        [b'0', b'b' | b'B', ..] => (2, number.get(2..)),
        [b'0', _, ..] => (8, number.get(1..)),
        _ => (10, Some(number)),
    };
    u64::from_str_radix(digits.unwrap_or(""), radix).map_err(|error| *error.kind())
}
