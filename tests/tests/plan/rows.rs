//! Small programs, each for one thing that a plan must get right, with what the plan makes of it.

use std::collections::BTreeSet;
use std::fmt::Write;

use cbpf_translator::Checked;
use cbpf_translator::asm::assemble;
use cbpf_translator::cbpf::Opcode;
use rand::seq::{IndexedRandom, IteratorRandom};

use super::*;

/// What a plan for x86-64 has.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    /// Numbers with one value, and numbers that the residual program answers for.
    constant: usize,
    residual: usize,
    /// The residual program's instructions, and how many of them a call runs at most.
    len: usize,
    longest: usize,
}

/// All numbers have one value.
const CONSTANT: Made = made(512, 0, 0, 0);

const fn made(constant: usize, residual: usize, len: usize, longest: usize) -> Made {
    Made { constant, residual, len, longest }
}

/// A residual program for all numbers.
const fn all(len: usize, longest: usize) -> Made {
    made(0, 512, len, longest)
}

fn program(text: &str) -> Vec<SockFilter> {
    assemble(text, &|_| None).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// How many instructions a call runs at most.
fn longest(program: &[SockFilter]) -> usize {
    let mut from = vec![0; program.len()];
    for (pc, insn) in program.iter().enumerate().rev() {
        let after = |distance: u32| from[pc + 1 + distance as usize];
        from[pc] = 1 + match Opcode::decode(insn.code).expect("a checked program") {
            Opcode::RetK | Opcode::RetA => 0,
            Opcode::Ja => after(insn.k),
            Opcode::Jump(..) => after(insn.jt.into()).max(after(insn.jf.into())),
            _ => after(0),
        };
    }
    from[0]
}

/// The plan is made like this, and answers as the whole program does.
#[track_caller]
fn row(text: &str, expected: Made) {
    let program = program(text);
    let loaded = plan(&program, EngineKind::Native);
    let planned =
        |is: fn(Planned) -> bool| (-2..600).filter(|nr| is(loaded.plan_of(AUDIT_ARCH_X86_64, *nr))).count();
    let residual = loaded.residual(AUDIT_ARCH_X86_64).map(Checked::insns);
    let made = Made {
        constant: planned(|plan| matches!(plan, Planned::Constant(_))),
        residual: planned(|plan| plan == Planned::Residual),
        len: residual.map_or(0, <[_]>::len),
        longest: residual.map_or(0, longest),
    };
    assert_eq!(made, expected, "{text}");
    agrees_near(&program);
}

/// The plan answers as the whole program does: for each two of the program's constants and their neighbours as
/// the halves of the first argument, for numbers at the edges of the table and of the program's intervals.
#[track_caller]
fn agrees_near(program: &[SockFilter]) {
    let near: BTreeSet<u32> =
        program.iter().flat_map(|insn| [-1, 0, 1].map(|by| insn.k.wrapping_add_signed(by))).collect();
    let mut rng = generate::seeded();
    let mut some = || near.iter().copied().choose_multiple(&mut rng, 24);
    let (low, high, numbers) = (some(), some(), some());
    let numbers: Vec<i32> = numbers.into_iter().map(u32::cast_signed).chain(EDGES).chain(0..3).collect();
    let halves = low.iter().flat_map(|low| high.iter().map(|high| u64::from(*high) << 32 | u64::from(*low)));
    let inputs = halves.map(|halves| {
        let nr = *numbers.choose(&mut rng).expect("there are edges");
        let mut input = SeccompData { nr, arch: AUDIT_ARCH_X86_64, ..generate::input(&mut rng, program) };
        input.args[0] = halves;
        input
    });
    agrees(program, inputs, &mut Seen::default());
}

/// A comparison for equality says what the word is, or what it is not; the others say nothing. It is forgotten
/// where the program does not load the word again.
#[test]
fn what_a_comparison_finds_out_is_known_behind_it() {
    #[rustfmt::skip]
    let rows = [
        (all(6, 4), "ld [16] jeq #5, five jeq #5, wrong ret #1 five: ret #2 wrong: ret #3"),
        (all(6, 4), "ld [16] jeq #5, five jeq #4, four ret #1 five: ret #2 four: ret #3"),
        (all(8, 5), "ld [16] jeq #4, four jeq #5, five jeq #4, wrong ret #1 four: ret #2 five: ret #3 wrong: ret #4"),
        (all(6, 4), "ld [16] jeq #5, five ret #1 five: jeq #5, right ret #2 right: ret #3"),
        (all(4, 3), "ld [16] jeq #5, five ret #1 five: ld [16] ret a"),
        (all(8, 5), "ld [16] jeq #5, five ret #1 five: jgt #4, right ret #2 right: jset #1, odd ret #3 odd: ret #4"),
        (all(7, 5), "ld [16] jne #5, other ld [20] jeq #1, one other: ld [16] ret a one: ret #9"),
        (all(6, 4), "ld [16] jgt #5, above jeq #5, five ret #1 above: ret #2 five: ret #3"),
        (all(6, 4), "ld [16] jge #5, above ret #1 above: jeq #5, five ret #2 five: ret #3"),
        (all(4, 3), "ld [16] jge #5, above ret #1 above: ld [16] ret a"),
        (all(6, 4), "ld [16] jge #5, above jeq #4, four ret #1 above: ret #2 four: ret #3"),
        (all(6, 4), "ld [16] jset #4, set ret #1 set: jeq #4, four ret #2 four: ret #3"),
        (all(6, 4), "ld [16] jeq #5, five jge #5, above ret #1 five: ret #2 above: ret #3"),
        (all(6, 4), "ld [16] jeq #5, five jgt #5, above ret #1 five: ret #2 above: ret #3"),
        (all(6, 4), "ld [16] jeq #5, five jset #5, set ret #1 five: ret #2 set: ret #3"),
        (all(6, 5), "ld [16] jeq #5, five ld [20] jeq #5, five ret #1 five: ret #2"),
        (all(6, 4), "ld [16] jeq #5, five ldx #5 jeq x, wrong ret #1 five: ret #2 wrong: ret #3"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// Reloads, M[] and X, orders, and comparisons of other words come between.
#[test]
fn what_is_known_of_a_word_outlives_what_comes_between() {
    #[rustfmt::skip]
    let rows = [
        (all(4, 3), "ld [16] jeq #5, five ld [16] jeq #5, wrong ret #1 five: ret #2 wrong: ret #3"),
        (all(9, 7), "ld [16] jeq #5, five st M[0] ld [20] jeq #1, one ret #1 one: ld [16] jeq #5, wrong ld M[0] ret a five: ret #2 wrong: ret #3"),
        (all(6, 4), "ld [16] jeq #5, five jgt #9, above ld [16] jeq #5, wrong ret #1 above: ret #2 five: ret #3 wrong: ret #4"),
        (all(6, 4), "ld [16] jeq #5, five jset #1, odd ld [16] jeq #5, wrong ret #1 odd: ret #2 five: ret #3 wrong: ret #4"),
        (all(7, 5), "ld [16] jeq #5, five ld [20] jgt #1, one ld [16] jeq #5, wrong ret #1 one: ret #2 five: ret #3 wrong: ret #4"),
        (all(7, 5), "ld [16] jne #5, other ld [20] jgt #1, one ld [16] ret a one: ret #1 other: ret #2"),
        (all(4, 3), "ld [16] jne #5, other ret a other: ld [16] ret a"),
        (all(10, 6), "ld [16] jeq #5, five ld [16] jgt #5, above ld [16] jset #5, set ld [16] jge #5, wrong ret #1 five: ret #2 above: ret #3 set: ret #4 wrong: ret #5"),
        (all(6, 4), "ld [16] jeq #5, five ld [16] jge #5, above ret #1 five: ret #2 above: ret #3"),
        (all(6, 4), "ld [16] jgt #5, above ld [16] jeq #5, five ret #1 above: ret #2 five: ret #3"),
        (all(6, 4), "ld [16] jge #5, above ret #1 above: ld [16] jeq #5, five ret #2 five: ret #3"),
        (all(11, 6), "ld [16] tax jeq #5, five ld [20] jeq x, same ret #1 five: txa jeq #5, right ret #2 right: ret #3 same: ret #4"),
        (all(11, 6), "ld [16] jeq #5, five tax ld [20] jeq x, same ret #1 five: tax ld [20] jeq x, same ret #2 same: ret #3"),
        (all(13, 7), "ld [16] jeq #5, five st M[1] ldx M[1] ld [20] jeq x, same ret #1 five: st M[1] ldx M[1] ld [20] jeq x, same ret #2 same: ret #3"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// What changes A's register ends what is known of the word in it.
#[test]
fn other_values_in_a_are_not_the_word() {
    #[rustfmt::skip]
    let rows = [
        (all(7, 5), "ld [16] jeq #5, five and #1 jeq #5, right ret #1 five: ret #2 right: ret #3"),
        (all(7, 5), "ld [16] jeq #5, five sub #1 jeq #5, right ret #1 five: ret #2 right: ret #3"),
        (all(7, 5), "ld [16] jeq #5, five neg jeq #5, right ret #1 five: ret #2 right: ret #3"),
        (all(8, 6), "ld [16] jeq #5, five tax add x jeq #5, right ret #1 five: ret #2 right: ret #3"),
        (all(8, 6), "ld [16] jeq #5, five and #1 jeq #5, right ld [16] ret a five: ret #2 right: ret #3"),
        (all(8, 6), "ld [16] jeq #5, five and #16 jeq #5, right ld [16] ret a five: ret #2 right: ret #3"),
        (all(8, 6), "ld [16] jeq #5, five neg jeq #5, right ld [16] ret a five: ret #2 right: ret #3"),
        (all(9, 7), "ld [16] jeq #5, five tax add x jeq #5, right ld [16] ret a five: ret #2 right: ret #3"),
        (all(6, 5), "ld [16] and #16 jgt #1, one ld [16] ret a one: ret #7"),
        (all(6, 5), "ld [16] add #16 jgt #1, one ld [16] ret a one: ret #7"),
        (all(6, 5), "ld [16] neg jgt #1, one ld [16] ret a one: ret #7"),
        (all(2, 2), "ld [16] and #1 ld [16] ret a"),
        (all(10, 8), "ld [20] tax ld [16] jgt #5, above txa jeq #5, five ld [16] ret a above: ret #2 five: ret #3"),
        (all(10, 8), "ld [20] st M[1] ld [16] jgt #5, above ld M[1] jeq #5, five ld [16] ret a above: ret #2 five: ret #3"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// Places that are reached with other knowledge are other places, unless nobody reads what is known.
#[test]
fn places_are_shared_where_as_much_is_known() {
    #[rustfmt::skip]
    let rows = [
        (all(12, 6), "ld [20] jne #1, other ld [16] jeq #5, five ja join other: ld [16] join: jgt #9, above ld [16] jeq #5, late ret #1 five: ret #2 above: ret #3 late: ret #4"),
        (all(11, 7), "ld [20] jne #1, other ld [16] jeq #5, five ja join other: ld [16] join: jgt #9, above jeq #5, late ret #1 five: ret #2 above: ret #3 late: ret #4"),
        (all(9, 6), "ld [24] jne #1, other ld [16] ja join other: ld [20] join: jgt #9, above ld [16] ret a above: ret #3"),
        (all(10, 7), "ld [24] jne #1, other ld [16] ja join other: ld [20] join: jgt #9, above jeq #5, five ret #1 above: ret #3 five: ret #4"),
        (all(11, 7), "ld [24] jne #1, other ld [16] ja join other: ld [20] join: jeq #9, nine ret #1 nine: ld [16] jeq #9, same ret #2 same: ret #3"),
        (all(10, 6), "ld [16] jne #5, other ld [20] ja join other: ld [20] join: jgt #9, above ld [16] ret a above: ret #3"),
        (all(4, 3), "ld [16] jne #5, other ld [20] ja join other: ld [20] join: jgt #9, above ret #1 above: ret #3"),
        (all(11, 6), "ld [16] jeq #5, five jeq #6, six ret #1 five: ld [20] ja join six: ld [20] join: jgt #9, above ld [16] ret a above: ret #3"),
        (all(14, 7), "ld [16] jeq #5, five jeq #6, six ret #1 five: ld [24] ja join six: ld [24] join: jeq #1, one ld [24] jgt #9, above ld [16] ret a above: ret #3 one: ret #4"),
        (all(9, 5), "ld [16] jgt #5, above ld #1 st M[0] ja join above: ld #2 st M[0] join: ld [20] jgt #9, nine ld M[0] ret a nine: ret #3"),
        (all(9, 5), "ld [16] jgt #5, above ldx #1 ja join above: ldx #2 join: ld [20] jgt #9, nine txa ret a nine: ret #3"),
        (all(10, 8), "ld [16] tax ld [20] jgt #5, above ld #1 ja join above: ld #2 join: jeq x, yes ret #7 yes: ret #8"),
        (all(11, 7), "ld [16] tax ld [20] jgt #5, above ld #1 ja join above: ld #2 join: jge x, yes ret a yes: ret #8"),
        (all(4, 3), "ld [16] jgt #5, above ldx #1 ja join above: ldx #2 join: ld [20] jgt #9, nine ret #1 nine: ret #3"),
        (all(4, 3), "ldx #7 ld [20] jgt #1, one txa ret a one: ret #1"),
        (all(4, 3), "ldx #7 ld [20] jgt #1, one ret #1 one: txa ret a"),
        (all(4, 3), "ld #7 st M[3] ld [20] jgt #1, one ldx M[3] txa ret a one: ret #1"),
        (all(7, 6), "ld [16] tax ld [20] jgt #1, one txa ret a one: ret #1"),
        (all(7, 6), "ld [16] tax ld #1 jgt x, above ret a above: txa ret a"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// A copy of an unknown value is unknown, whatever stood there.
#[test]
fn values_are_computed_or_left_to_be_computed() {
    #[rustfmt::skip]
    let rows = [
        (all(4, 4), "ld #1 st M[0] ld [16] st M[0] ld M[0] ret a"),
        (all(5, 5), "ldx #1 stx M[0] ld [16] tax stx M[0] ld M[0] ret a"),
        (all(4, 4), "ldx #1 ld [16] tax txa ret a"),
        (all(4, 4), "ld [16] tax ld #1 txa ret a"),
        (all(4, 4), "ld [16] st M[0] ld #1 ld M[0] ret a"),
        (all(5, 5), "ld [16] st M[0] ldx #1 ldx M[0] txa ret a"),
        (all(3, 3), "ld [16] or #0 ret a"),
        (all(1, 1), "ld [16] and #0 ret a"),
        (all(1, 1), "ldx #0 ld [16] and x ret a"),
        (all(3, 3), "ldx #0 ld [16] or x ret a"),
        (all(3, 3), "ldx #40 ld [16] lsh x ret a"),
        (all(3, 3), "ldx #24 ld [16] rsh x ret a"),
        (all(3, 3), "ldx #56 ld [16] rsh x ret a"),
        (all(3, 3), "ldx #3 ld [16] div x ret a"),
        (all(5, 5), "ld [16] tax ld #7 add x ret a"),
        (all(6, 6), "ld [16] tax ld #7 sub x sub #1 ret a"),
        (all(7, 6), "ld [16] tax ld #7 sub x jeq #5, five ret a five: ret #1"),
        (all(3, 3), "ld len neg tax ld [16] add x ret a"),
        (all(3, 3), "ldx len ld [16] sub x ret a"),
        (all(1, 1), "ldx #0 ld [16] div x ret #1"),
        (all(5, 5), "ld [16] tax ld #9 div x ret #5"),
        (all(5, 5), "ld [16] tax ld #9 div x ret a"),
        (all(4, 3), "ld [20] jgt #4, some ldx #0 ld #9 div x some: ret #5"),
        (CONSTANT, "ldx #2 ld #9 div x ret a"),
        (CONSTANT, "add #3 ret a"),
        (CONSTANT, "txa jeq #0, none ret #1 none: ret #2"),
        (CONSTANT, "ld [16] jgt #5, above tax ret #1 above: ret #1"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// Values of the number and of the entry, by intervals.
#[test]
fn numbers_are_told_apart_where_the_program_does() {
    #[rustfmt::skip]
    let rows = [
        (CONSTANT, "ld [0] jeq #3, three ret #1 three: ret #2"),
        (CONSTANT, "ld [0] jgt #63, above ret #1 above: ret #2"),
        (CONSTANT, "ld [0] jge #64, above jset #0x20, set ret #1 above: ret #2 set: ret #3"),
        (CONSTANT, "ld [0] jset #0x101, set ret #1 set: ret #2"),
        (CONSTANT, "ld [0] jgt #511, above jeq #0xffffffff, all ret a above: ret #2 all: ret #3"),
        (CONSTANT, "ld [0] jge #0x40000000, x32 jge #512, above ret #1 x32: ret #2 above: ret #3"),
        (CONSTANT, "ld [4] jne #0xc000003e, other ld [0] ret a other: ret #1"),
        (all(2, 2), "ld [4] jne #0xc000003e, other ld [16] ret a other: ld [20] ret a"),
        (CONSTANT, "ld [0] and #0xbfffffff jeq #257, one jeq #1, one ret a one: ret #9"),
        (CONSTANT, "ld [0] and #0x1ff ret a"),
        (all(1027, 13), "ld [0] and #0xff ret a"),
        (all(7, 5), "ld [0] and #0xff jeq #1, one ret #7 one: ret #9"),
        (all(7, 5), "ld [0] and #0xfffffeff jeq #1, one ret #7 one: ret #9"),
        (all(1, 1), "ld [0] or #0x1ff ret a"),
        (all(1027, 13), "ld [0] neg ret a"),
        (made(502, 10, 20, 6), "ld [0] jge #10, high add #1 ret a high: ret #1"),
        (CONSTANT, "ld [0] jne #7, other add #1 ret a other: ret #1"),
        (all(4, 3), "ld [0] tax ld #300 jgt x, above ret #1 above: ret #2"),
        (CONSTANT, "ld [0] tax ld #0 txa jgt #300, above ret #1 above: ret #2"),
        (all(6, 5), "ld [0] tax ld [16] tax txa jgt #300, above ret #1 above: ret #2"),
        (CONSTANT, "ld [0] st M[5] ld [16] jeq #1, one one: ld M[5] jgt #300, above ret #1 above: ret #2"),
        (all(6, 5), "ld #1 st M[5] ld [16] st M[5] ld M[5] jgt #300, above ret #1 above: ret #2"),
        (CONSTANT, "ld [16] jeq #1, one ret #1 one: ret #1"),
        (all(4, 3), "ld [16] jeq #1, one ret #1 one: ret #2"),
        (all(5, 4), "ld [16] jeq #1, one ret #1 one: ld [20] ret a"),
        (all(5, 4), "ld [16] jeq #1, one ld [20] ret a one: ret #1"),
        (made(511, 1, 4, 3), "ld [0] jeq #7, seven ret #1 seven: ld [16] jeq #1, one ret #1 one: ld [0] ret a"),
        (CONSTANT, "ld [0] jeq #7, seven ret #7 seven: ld [16] jeq #1, one ret #7 one: ld [0] ret a"),
        (all(4, 3), "ld [16] jeq #1, one ja end one: ldx #2 end: txa ret a"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// The residual program finds its number by a balanced search.
#[test]
fn residual_programs_search_the_number() {
    #[rustfmt::skip]
    let rows = [
        (made(1, 511, 10, 6), "ld [0] jeq #3, three jeq #4, four jge #500, high ld [16] ret a three: ld [20] ret a four: ret #4 high: ld [24] ret a"),
        (all(12, 6), "ld [0] jge #64, high ld [16] ret a high: jge #128, top ld [20] ret a top: jeq #511, last ld [24] ret a last: ld [28] ret a"),
        (made(510, 2, 6, 5), "ld [0] jeq #0, zero jeq #511, last ret #1 zero: ld [16] ret a last: ld [20] ret a"),
        (all(7, 6), "tax ld [0] jge #9, high ld [16] add x ret a high: ld [20] add x ret a"),
        (all(2397, 16), "ld [0] tax ld [16] jeq x, same ret #1 same: ret #2"),
        (all(816, 15), "ld [0] and #15 tax ld [16] jeq x, same ret #1 same: ret #2"),
    ];
    rows.into_iter().for_each(|(made, text)| row(text, made));
}

/// `count` ways by number that each run `set` with their own index, and then all `get`.
fn ways(count: u32, set: impl Fn(u32) -> String, get: &str) -> String {
    let mut text = String::from("ld [0]");
    for way in 1..count {
        write!(text, " jeq #{way}, way{way}").unwrap();
    }
    write!(text, " {} ja join", set(0)).unwrap();
    for way in 1..count {
        write!(text, " way{way}: {} ja join", set(way)).unwrap();
    }
    format!("{text} join: {get}")
}

/// States that differ are kept apart up to a number of them, then they know less.
#[test]
fn states_that_are_too_many_at_a_place_are_joined() {
    let a = |way| format!("ld #{}", 100 + way);
    let x = |way| format!("ldx #{}", 100 + way);
    let m = |way| format!("ld #{} st M[9]", 100 + way);
    row(&ways(6, a, "add #1 ret a"), CONSTANT);
    row(&ways(6, x, "txa ret a"), CONSTANT);
    row(&ways(6, m, "ld M[9] ret a"), CONSTANT);
    row(&ways(9, a, "add #1 ret a"), made(5, 507, 9, 5));
    row(&ways(9, x, "txa ret a"), made(5, 507, 9, 5));
    row(&ways(9, m, "ld M[9] ret a"), made(5, 507, 9, 5));
    // Nobody reads what they differ in.
    row(&ways(9, |way| format!("ld #{way} st M[9] ldx #{}", way % 2), "txa ret a"), CONSTANT);
}

/// Diamonds whose ways differ in nothing that is read are straight lines, however many there are.
#[test]
fn what_nobody_reads_keeps_no_places_apart() {
    let slots = (0..14).map(|i| format!("ld [16] jset #{}, s{i} ld #1 st M[{i}] s{i}: ", 1 << i));
    row(&(slots.collect::<String>() + "ld [20] ret a"), all(2, 2));
    let words = (4..16).map(|i| format!("ld [{}] jeq #{i}, s{i} ldx #1 s{i}: ", 4 * i));
    row(&(words.collect::<String>() + "ld [12] ret a"), all(2, 2));
}

/// Jumps that are too far for a comparison.
#[test]
fn far_ways_are_reached() {
    let adds = |count: usize, by: u32| format!("add #{by} ").repeat(count);
    // The longer way stands behind the shorter one, and from 255 on takes an instruction more.
    for (count, len, longest) in [(252, 556, 303), (253, 557, 303), (254, 559, 304)] {
        let (near, far) = (adds(count, 1), adds(300, 2));
        row(
            &format!("ld [16] jset #1, o jmp even o: jmp odd even: {far} ret a odd: {near} ret a"),
            all(len, longest),
        );
    }
    let counts = || [1, 2].into_iter().chain(250..258);
    for (one, two) in counts().flat_map(|one| counts().map(move |two| (one, two))) {
        let text = format!(
            "ld [16] jset #1, odd ld [20] jset #1, b jmp two odd: ld [24] jset #1, c jmp one b: jmp one c: jmp two
             one: {} ret a two: {} ret a",
            adds(one, 1),
            adds(two, 2),
        );
        agrees_near(&program(&text));
    }
}

/// Programs that are too much to plan, all of them or some of their numbers.
#[test]
fn what_is_too_much_is_left_to_the_whole_program() {
    // Long, though all of it is known: the work of each number counts.
    row(
        &format!("ld [0] tax {} ld [16] jeq x, same ret #1 same: ret #2", "ld #1 ".repeat(2000)),
        made(0, 32, 98, 9),
    );
    // Comparisons that come to nothing: both ways of each are followed.
    let nothing = (0..50).map(|i| format!("ld [20] jgt #{i}, s{i} ld #1 s{i}: "));
    row(
        &format!("ld [0] tax {} ld [16] jeq x, same ret #1 same: ret #2", nothing.collect::<String>()),
        made(0, 24, 74, 9),
    );
    // Each number has instructions of its own.
    row(&format!("ld [0] tax ld [16] {} ret a", "xor x add #1 ".repeat(10)), made(0, 154, 3396, 35));
    // Six states wait at each of so many instructions.
    for (count, made) in [(300, made(0, 334, 3625, 309)), (400, made(0, 0, 0, 0))] {
        let away = (0..count).map(|i| format!("ld [16] jne #{i}, n{i} ja a{i} n{i}: "));
        let there = (0..count).map(|i| format!("a{i}: ld M[9] add #{i} ret a "));
        row(
            &ways(
                6,
                |way| format!("ld #{way} st M[9]"),
                &format!("{} ret #1 {}", away.collect::<String>(), there.collect::<String>()),
            ),
            made,
        );
    }
}
