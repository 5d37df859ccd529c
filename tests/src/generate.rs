//! Programs and inputs out of a seed, for property tests and fuzzers.
//!
//! The same seed gives the same cases. A test takes its generator from [`seeded`], which prints the seed; a
//! failure is replayed by setting `SECCOMP_SEED` to it, or by the command line of [`replay`].

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::{array, env, fs, mem};

use cbpf_translator::cbpf::{
    AluOp, Cond, MAX_INSNS, OPCODES, Opcode, SCRATCH_SLOTS, SockFilter, Source, Width,
};
use cbpf_translator::seccomp::{self, AUDIT_ARCH_NAMES, RET_DATA, RET_NAMES};
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use seccomp_runtime::SeccompData;

/// How many cases a test is to run: the environment variable `var`, or `default`.
///
/// # Panics
///
/// The variable is not a decimal number.
pub fn campaign(default: u64, var: &str) -> u64 {
    number(var).unwrap_or(default)
}

/// The seed of this run: the environment variable `SECCOMP_SEED`, or another one each time.
///
/// # Panics
///
/// The variable is not a decimal number.
pub fn seed() -> u64 {
    number("SECCOMP_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish())
}

fn number(var: &str) -> Option<u64> {
    let text = env::var(var).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{var}={text} is not a decimal number")))
}

/// The generator of a seed.
pub fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// The generator of this run's [`seed`], which it prints: a failed test shows it.
pub fn seeded() -> SmallRng {
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    rng(seed)
}

/// Words at which something changes: signs, widths, shift counts, the highest errno, the x32 bit.
#[rustfmt::skip]
const EDGES: [u32; 24] = [
    0, 1, 2, 3, 4, 7, 31, 32, 33, 63, 64, 0xff, 0xfff, 0x1000, 0xffff, 0x1_0000, 0x4000_0000, 0x7fff_fffe,
    0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_0000, 0xffff_fffe, 0xffff_ffff,
];

const SLOTS: u32 = SCRATCH_SLOTS as u32;

/// Numbers of x86_64 and what lies beside them: the two that Linux never filters, x32's, no number at all.
const NUMBERS: [i32; 16] =
    [0, 1, 39, 59, 202, 231, 334, 335, 336, 337, 451, 1000, 0x4000_0000, 0x4000_0208, -1, i32::MIN];

/// A program that Linux accepts as a filter, of 1 to `max_len` instructions.
///
/// It may have everything that a filter may have: dead code, jumps of every shape and length, junk in
/// unused fields, negative constants, divisions by an X that is 0, shifts by an X of 32 and more.
///
/// # Panics
///
/// `max_len` is not in `1..=MAX_INSNS`.
pub fn program<R: Rng + ?Sized>(rng: &mut R, max_len: usize) -> Vec<SockFilter> {
    assert!((1..=MAX_INSNS).contains(&max_len), "no program has up to {max_len} instructions");
    let len = length(rng, max_len);
    let style = Style::new(rng, len);
    let mut scratch = Scratch { written: 0, incoming: vec![u16::MAX; len] };
    let mut opcode = None;
    (0..len)
        .map(|pc| {
            scratch.enter(pc);
            let ahead = len - pc - 1;
            let next = style.opcode(rng, opcode, ahead, scratch.written);
            let insn = style.insn(rng, next, ahead, scratch.written);
            scratch.leave(pc, next, insn);
            opcode = Some(next);
            insn
        })
        .collect()
}

/// Most programs are short, since what two instructions do to each other shows there; some fill the limit.
fn length<R: Rng + ?Sized>(rng: &mut R, max_len: usize) -> usize {
    let up_to = match rng.random_range(0..32) {
        0..16 => 16,
        16..26 => 64,
        26..31 => 512,
        _ if rng.random_ratio(1, 4) => return max_len,
        _ => max_len,
    };
    rng.random_range(1..=up_to.min(max_len))
}

/// The scratch slots that are written, along a program (`check_load_and_stores`).
struct Scratch {
    written: u16,
    incoming: Vec<u16>,
}

impl Scratch {
    fn enter(&mut self, pc: usize) {
        self.written &= self.incoming[pc];
    }

    fn leave(&mut self, pc: usize, opcode: Opcode, insn: SockFilter) {
        let mut join = |distance: u32| self.incoming[pc + 1 + distance as usize] &= self.written;
        match opcode {
            Opcode::St | Opcode::Stx => self.written |= 1 << insn.k,
            Opcode::Ja => {
                join(insn.k);
                self.written = u16::MAX;
            }
            Opcode::Jump(..) => {
                join(insn.jt.into());
                join(insn.jf.into());
                self.written = u16::MAX;
            }
            _ => {}
        }
    }
}

/// What a program is made of. Each leaves some opcodes out and has much of others: a defect that needs much
/// of one thing does not show in programs that have a little of everything.
struct Style {
    /// What is drawn from [`OPCODES`]; no returns, which have a share of their own.
    opcodes: WeightedIndex<u32>,
    /// One in this many instructions returns.
    returns: u32,
    /// Unused fields hold anything.
    junk: bool,
    /// What constants are drawn from, mostly: comparisons say more when values meet again.
    constants: [u32; 6],
    /// The words that are loaded, mostly.
    words: [u32; 2],
    /// Most instructions compare, and most compare for equality, so that one word is compared again and again.
    compares: bool,
}

impl Style {
    fn new<R: Rng + ?Sized>(rng: &mut R, len: usize) -> Self {
        let weights = OPCODES.map(|row| match row.opcode {
            _ if !row.seccomp => 0,
            Opcode::RetK | Opcode::RetA => 0,
            Opcode::LdAbs(_) => 12,
            // X is often 0, and the program ends there.
            Opcode::Alu(AluOp::Div, Source::X) => pick(rng, [0, 0, 0, 1]),
            _ => pick(rng, [0, 1, 1, 4]),
        });
        let compares = rng.random_ratio(1, 4);
        let one = word(rng);
        Self {
            opcodes: WeightedIndex::new(weights).expect("a load has a weight"),
            returns: pick(rng, [8, 32, len as u32, 2 * len as u32]).max(2),
            junk: rng.random_ratio(1, 4),
            constants: array::from_fn(|_| if compares { neighbour(rng, one) } else { word(rng) }),
            words: array::from_fn(|_| offset(rng)),
            compares,
        }
    }

    /// What may follow `last` with `ahead` instructions still to come and these slots written.
    fn opcode<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        last: Option<Opcode>,
        ahead: usize,
        written: u16,
    ) -> Opcode {
        if ahead == 0 || rng.random_ratio(1, self.returns) {
            return pick(rng, [Opcode::RetK, Opcode::RetA]);
        }
        if last.is_none() && rng.random() {
            return Opcode::LdAbs(Width::Word);
        }
        if matches!(last, Some(Opcode::LdAbs(_))) && rng.random() {
            return Opcode::Jump(pick(rng, [Cond::Eq, Cond::Gt, Cond::Ge, Cond::Set]), Source::K);
        }
        if self.compares && rng.random_ratio(3, 4) {
            const EQ: Opcode = Opcode::Jump(Cond::Eq, Source::K);
            let other = Opcode::Jump(pick(rng, [Cond::Gt, Cond::Ge, Cond::Set]), Source::K);
            return pick(rng, [EQ, EQ, EQ, EQ, other, Opcode::LdAbs(Width::Word)]);
        }
        loop {
            let opcode = OPCODES[self.opcodes.sample(rng)].opcode;
            if written != 0 || !matches!(opcode, Opcode::LdMem | Opcode::LdxMem) {
                return opcode;
            }
        }
    }

    fn insn<R: Rng + ?Sized>(&self, rng: &mut R, opcode: Opcode, ahead: usize, written: u16) -> SockFilter {
        let code = opcode.row().expect("every operation has a row").code;
        let mut insn = SockFilter::new(code, 0, 0, 0);
        if self.junk {
            insn = SockFilter::new(code, rng.random(), rng.random(), word(rng));
        }
        match opcode {
            Opcode::LdAbs(_) if rng.random_ratio(3, 4) => insn.k = pick(rng, self.words),
            Opcode::LdAbs(_) => insn.k = offset(rng),
            Opcode::LdImm | Opcode::LdxImm => insn.k = self.constant(rng),
            Opcode::LdMem | Opcode::LdxMem => {
                let slots: Vec<u32> = (0..u16::BITS).filter(|slot| written >> slot & 1 == 1).collect();
                insn.k = *slots.choose(rng).expect("a slot is written");
            }
            Opcode::St | Opcode::Stx => {
                insn.k = if rng.random() { pick(rng, [0, 1, SLOTS - 1]) } else { rng.random_range(0..SLOTS) };
            }
            Opcode::Alu(AluOp::Lsh | AluOp::Rsh, Source::K) => insn.k = rng.random_range(0..u32::BITS),
            Opcode::Alu(AluOp::Div, Source::K) => insn.k = self.constant(rng).max(1),
            Opcode::Alu(_, Source::K) => insn.k = self.constant(rng),
            Opcode::RetK => insn.k = self.returned(rng),
            Opcode::Ja => insn.k = distance(rng, ahead as u32 - 1),
            Opcode::Jump(_, source) => {
                if source == Source::K {
                    insn.k = self.constant(rng);
                }
                let farthest = (ahead as u32 - 1).min(u8::MAX.into());
                let far = distance(rng, farthest) as u8;
                (insn.jt, insn.jf) = match rng.random_range(0..8) {
                    0 => (0, 0),
                    1 => (far, far),
                    2 | 3 => (far, 0),
                    4 | 5 => (0, far),
                    _ => (far, distance(rng, farthest) as u8),
                };
            }
            // Nothing that they have is looked at.
            _ => {}
        }
        insn
    }

    fn constant<R: Rng + ?Sized>(&self, rng: &mut R) -> u32 {
        if rng.random_ratio(3, 4) { pick(rng, self.constants) } else { word(rng) }
    }

    fn returned<R: Rng + ?Sized>(&self, rng: &mut R) -> u32 {
        let (_, action) = pick(rng, RET_NAMES);
        match rng.random_range(0..4) {
            0 => self.constant(rng),
            1 => action,
            _ => action | rng.random::<u32>() & RET_DATA,
        }
    }
}

/// The offset of a word of the input.
fn offset<R: Rng + ?Sized>(rng: &mut R) -> u32 {
    4 * rng.random_range(0..seccomp::DATA_SIZE / 4)
}

/// A jump's distance: near, as far as it may, or anywhere.
fn distance<R: Rng + ?Sized>(rng: &mut R, farthest: u32) -> u32 {
    match rng.random_range(0..16) {
        0 => farthest,
        1 | 2 => rng.random_range(0..=farthest),
        _ => rng.random_range(0..=farthest.min(4)),
    }
}

/// A word that is likely to matter: an edge, an architecture, a number, a power of two or its neighbour.
fn word<R: Rng + ?Sized>(rng: &mut R) -> u32 {
    match rng.random_range(0..8) {
        0..3 => pick(rng, EDGES),
        3 => pick(rng, AUDIT_ARCH_NAMES).1,
        4 => pick(rng, NUMBERS).cast_unsigned(),
        5 => {
            let power = 1 << rng.random_range(0..u32::BITS);
            neighbour(rng, power)
        }
        6 => rng.random_range(0..0x200),
        _ => rng.random(),
    }
}

/// The word itself, or one that a wrong comparison takes for it.
fn neighbour<R: Rng + ?Sized>(rng: &mut R, word: u32) -> u32 {
    match rng.random_range(0..8) {
        0 => word.wrapping_add(1),
        1 => word.wrapping_sub(1),
        2 => word.wrapping_neg(),
        3 => !word,
        4 => word ^ 1 << 31,
        _ => word,
    }
}

fn pick<R: Rng + ?Sized, T: Copy, const N: usize>(rng: &mut R, from: [T; N]) -> T {
    from[rng.random_range(0..N)]
}

/// Instructions of any 64 bits, or of opcodes that there are with small fields, of 0 to `max_len`. Linux
/// refuses most of them.
pub fn noise<R: Rng + ?Sized>(rng: &mut R, max_len: usize) -> Vec<SockFilter> {
    let wild = rng.random_ratio(1, 4);
    (0..rng.random_range(0..=max_len))
        .map(|_| match wild {
            true => SockFilter::from_ne_bytes(rng.random()),
            false => SockFilter::new(
                pick(rng, OPCODES).code,
                rng.random_range(0..4),
                rng.random_range(0..4),
                rng.random_range(0..20),
            ),
        })
        .collect()
}

/// Changes a program in one to three places. Whether Linux accepts the result is open.
pub fn mutate<R: Rng + ?Sized>(rng: &mut R, program: &mut Vec<SockFilter>) {
    for _ in 0..rng.random_range(1..=3) {
        let len = program.len();
        let Some(pc) = (0..len).choose(rng) else {
            program.extend(noise(rng, 2));
            continue;
        };
        // What a distance must not reach.
        let end = (len - pc - 1) as u32;
        let insn = &mut program[pc];
        match rng.random_range(0..16) {
            0 => insn.code ^= 1 << rng.random_range(0..u16::BITS),
            1 => insn.code = rng.random(),
            2 | 3 => insn.code = pick(rng, OPCODES).code,
            4 => insn.k ^= 1 << rng.random_range(0..u32::BITS),
            5 => insn.k = word(rng),
            6 | 7 => {
                let limit = limit(insn.code, end);
                insn.k = pick(rng, [limit.wrapping_sub(1), limit, limit.wrapping_add(1)]);
            }
            8 => insn.jt = pick(rng, [end.wrapping_sub(1), end, u32::MAX]) as u8,
            9 => insn.jf = pick(rng, [end.wrapping_sub(1), end, u32::MAX]) as u8,
            10 => mem::swap(&mut insn.jt, &mut insn.jf),
            11 => program.truncate(pc),
            12 => drop(program.remove(pc)),
            13 => {
                let insn = *insn;
                program.insert(rng.random_range(0..=len), insn);
            }
            14 => program.swap(pc, rng.random_range(0..len)),
            _ => program.extend_from_within(pc..),
        }
    }
}

/// The operand at which an opcode begins or ends to be refused, `end` for a distance.
fn limit(code: u16, end: u32) -> u32 {
    match Opcode::decode(code) {
        Some(Opcode::LdMem | Opcode::LdxMem | Opcode::St | Opcode::Stx) => SLOTS,
        Some(Opcode::Alu(AluOp::Lsh | AluOp::Rsh, _)) => u32::BITS,
        Some(Opcode::LdAbs(_) | Opcode::LdInd(_)) => seccomp::DATA_SIZE,
        Some(Opcode::Ja) => end,
        _ => 0,
    }
}

/// An input for `program`: words that its constants meet or just miss, edges, and numbers and architectures
/// that a filter must not mix up.
pub fn input<R: Rng + ?Sized>(rng: &mut R, program: &[SockFilter]) -> SeccompData {
    let is_compared =
        |insn: &&SockFilter| matches!(Opcode::decode(insn.code), Some(Opcode::Jump(_, Source::K)));
    let compared: Vec<_> = program.iter().filter(is_compared).collect();
    let near = |rng: &mut R| match (compared.choose(rng), program.choose(rng)) {
        (Some(insn), _) if rng.random() => neighbour(rng, insn.k),
        (_, Some(insn)) if rng.random() => neighbour(rng, insn.k),
        _ => word(rng),
    };
    let nr = if rng.random() { pick(rng, NUMBERS) } else { near(rng).cast_signed() };
    let arch = match rng.random_range(0..16) {
        0..8 => seccomp::AUDIT_ARCH_X86_64,
        8..12 => seccomp::AUDIT_ARCH_I386,
        12..15 => pick(rng, AUDIT_ARCH_NAMES).1,
        _ => near(rng),
    };
    let double = |rng: &mut R| match rng.random_range(0..4) {
        0 => near(rng).into(),
        1 => i64::from(near(rng).cast_signed()).cast_unsigned(),
        _ => u64::from(near(rng)) << 32 | u64::from(near(rng)),
    };
    SeccompData { nr, arch, instruction_pointer: double(rng), args: array::from_fn(|_| double(rng)) }
}

/// The command line that runs `program` on `data` in every engine. It writes the program to a file in the
/// temporary folder, which stays.
///
/// # Panics
///
/// The file cannot be written.
pub fn replay(program: &[SockFilter], data: &SeccompData) -> String {
    let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    let path = env::temp_dir().join(format!("seccomp-{:016x}.bin", hasher.finish()));
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let args = data.args.map(|arg| format!("{arg:#x}")).join(",");
    format!(
        "seccomp-rbpf eval {} --nr {} --arch {:#x} --ip {:#x} --args {args} --engine all",
        path.display(),
        data.nr,
        data.arch,
        data.instruction_pointer,
    )
}

#[cfg(test)]
mod tests {
    use cbpf_translator::check;

    use super::*;

    #[test]
    fn programs_are_accepted_and_use_every_opcode() {
        let mut rng = seeded();
        let mut seen = std::collections::HashSet::new();
        for case in 0..campaign(20_000, "SECCOMP_GENERATED") {
            let max_len = pick(&mut rng, [1, 2, 3, 64, MAX_INSNS]);
            let program = program(&mut rng, max_len);
            assert!(program.len() <= max_len);
            seen.extend(program.iter().map(|insn| insn.code));
            check(program).unwrap_or_else(|error| panic!("case {case}: {error}"));
        }
        let allowed = OPCODES.iter().filter(|row| row.seccomp);
        assert!(allowed.into_iter().all(|row| seen.contains(&row.code)), "{seen:x?}");
    }

    #[test]
    fn mutations_are_accepted_and_refused() {
        let mut rng = seeded();
        let accepted = (0..2000).filter(|_| {
            let mut program = program(&mut rng, 64);
            mutate(&mut rng, &mut program);
            check(program).is_ok()
        });
        let accepted = accepted.count();
        assert!((400..1600).contains(&accepted), "{accepted} of 2000");
    }

    #[test]
    fn a_seed_gives_the_same_cases() {
        let cases = || {
            let mut rng = rng(7);
            let mut program = program(&mut rng, 512);
            let input = input(&mut rng, &program);
            mutate(&mut rng, &mut program);
            (program, input)
        };
        assert_eq!(cases(), cases());
    }

    #[test]
    fn inputs_meet_the_constants() {
        let mut rng = seeded();
        let program = [SockFilter::new(0x15, 0, 0, 0x1234_5678)];
        let met = (0..1000).filter(|_| input(&mut rng, &program).args[0] as u32 == 0x1234_5678);
        assert!(met.count() > 50);
    }
}
