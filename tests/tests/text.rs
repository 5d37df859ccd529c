//! Programs as text and back.

use cbpf_translator::asm::{AsmError, AsmErrorKind, assemble};
use cbpf_translator::cbpf::{MAX_INSNS, OPCODES};
use cbpf_translator::disasm::{Disassembly, EbpfListing};
use cbpf_translator::ebpf::{self, Opcode, Unsupported};
use cbpf_translator::{Insn, SockFilter, check, translate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use seccomp_tests::vectors;

fn syscall(name: &str) -> Option<u32> {
    match name {
        "read" => Some(0),
        "openat" => Some(257),
        _ => None,
    }
}

fn asm(source: &str) -> Result<Vec<SockFilter>, AsmError<'_>> {
    assemble(source, &syscall)
}

const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code, jt, jf, k)
}

/// What a source of one instruction assembles to.
const FORMS: &[(&str, SockFilter)] = &[
    ("ld [4]", insn(0x20, 0, 0, 4)),
    ("ldh [12]", insn(0x28, 0, 0, 12)),
    ("ldb [23]", insn(0x30, 0, 0, 23)),
    ("ld [x + 4]", insn(0x40, 0, 0, 4)),
    ("ld [x+4]", insn(0x40, 0, 0, 4)),
    ("ld [%x + 4]", insn(0x40, 0, 0, 4)),
    ("ldh [x + 2]", insn(0x48, 0, 0, 2)),
    ("ldb [% x + 2]", insn(0x50, 0, 0, 2)),
    ("ld [x + -4]", insn(0x40, 0, 0, 0xffff_fffc)),
    ("ld #5", insn(0x00, 0, 0, 5)),
    ("ld # 5", insn(0x00, 0, 0, 5)),
    ("ldi #5", insn(0x00, 0, 0, 5)),
    ("ldi 5", insn(0x00, 0, 0, 5)),
    ("ldi openat", insn(0x00, 0, 0, 257)),
    ("ld len", insn(0x80, 0, 0, 0)),
    ("ld #len", insn(0x80, 0, 0, 0)),
    ("ld M[3]", insn(0x60, 0, 0, 3)),
    ("ldx #5", insn(0x01, 0, 0, 5)),
    ("ldxi #5", insn(0x01, 0, 0, 5)),
    ("ldxi 5", insn(0x01, 0, 0, 5)),
    ("ldx len", insn(0x81, 0, 0, 0)),
    ("ldx #len", insn(0x81, 0, 0, 0)),
    ("ldx M[3]", insn(0x61, 0, 0, 3)),
    ("ldxb 4*([14]&0xf)", insn(0xb1, 0, 0, 14)),
    ("ldx 4 * ( [ 14 ] & 15 )", insn(0xb1, 0, 0, 14)),
    ("st M[15]", insn(0x02, 0, 0, 15)),
    ("stx M[0]", insn(0x03, 0, 0, 0)),
    ("st M[16]", insn(0x02, 0, 0, 16)),
    ("add #1", insn(0x04, 0, 0, 1)),
    ("add x", insn(0x0c, 0, 0, 0)),
    ("add %x", insn(0x0c, 0, 0, 0)),
    ("sub #1", insn(0x14, 0, 0, 1)),
    ("sub x", insn(0x1c, 0, 0, 0)),
    ("mul #1", insn(0x24, 0, 0, 1)),
    ("mul x", insn(0x2c, 0, 0, 0)),
    ("div #1", insn(0x34, 0, 0, 1)),
    ("div x", insn(0x3c, 0, 0, 0)),
    ("or #1", insn(0x44, 0, 0, 1)),
    ("or x", insn(0x4c, 0, 0, 0)),
    ("and #1", insn(0x54, 0, 0, 1)),
    ("and x", insn(0x5c, 0, 0, 0)),
    ("lsh #1", insn(0x64, 0, 0, 1)),
    ("lsh x", insn(0x6c, 0, 0, 0)),
    ("rsh #1", insn(0x74, 0, 0, 1)),
    ("rsh x", insn(0x7c, 0, 0, 0)),
    ("mod #1", insn(0x94, 0, 0, 1)),
    ("mod x", insn(0x9c, 0, 0, 0)),
    ("xor #1", insn(0xa4, 0, 0, 1)),
    ("xor x", insn(0xac, 0, 0, 0)),
    ("neg", insn(0x84, 0, 0, 0)),
    ("tax", insn(0x07, 0, 0, 0)),
    ("txa", insn(0x87, 0, 0, 0)),
    ("ret #0", insn(0x06, 0, 0, 0)),
    ("ret a", insn(0x16, 0, 0, 0)),
    ("ret %a", insn(0x16, 0, 0, 0)),
    // Keywords in either case.
    ("LD M[1]", insn(0x60, 0, 0, 1)),
    ("Ldx m[1]", insn(0x61, 0, 0, 1)),
    ("ADD %X", insn(0x0c, 0, 0, 0)),
    ("RET A", insn(0x16, 0, 0, 0)),
    ("ld #LEN", insn(0x80, 0, 0, 0)),
    // Numbers.
    ("ld #0x7FFF0000", insn(0x00, 0, 0, 0x7fff_0000)),
    ("ld #0Xffffffff", insn(0x00, 0, 0, 0xffff_ffff)),
    ("ld #0b101", insn(0x00, 0, 0, 5)),
    ("ld #017", insn(0x00, 0, 0, 15)),
    ("ld #00", insn(0x00, 0, 0, 0)),
    ("ld #4294967295", insn(0x00, 0, 0, 0xffff_ffff)),
    ("ld #+7", insn(0x00, 0, 0, 7)),
    ("ld #-1", insn(0x00, 0, 0, 0xffff_ffff)),
    ("ld #-2147483648", insn(0x00, 0, 0, 0x8000_0000)),
    ("ld #-0x10", insn(0x00, 0, 0, 0xffff_fff0)),
    ("ld #-0", insn(0x00, 0, 0, 0)),
    // Names.
    ("ret #SECCOMP_RET_ALLOW", insn(0x06, 0, 0, 0x7fff_0000)),
    ("ret #SECCOMP_RET_ERRNO|1", insn(0x06, 0, 0, 0x0005_0001)),
    ("ret #SECCOMP_RET_TRACE | 0x10 | 2", insn(0x06, 0, 0, 0x7ff0_0012)),
    ("ld #AUDIT_ARCH_X86_64", insn(0x00, 0, 0, 0xc000_003e)),
    ("ld #openat", insn(0x00, 0, 0, 257)),
    ("ld #__NR_openat", insn(0x00, 0, 0, 257)),
    ("ld [read]", insn(0x20, 0, 0, 0)),
    // Raw instructions.
    ("{ 0x20, 1, 0, 0x00000004 }", insn(0x20, 1, 0, 4)),
    ("{ 0x20,  1,  0, 0x00000004 },", insn(0x20, 1, 0, 4)),
    ("{0xffff,255,255,-1}", insn(0xffff, 255, 255, 0xffff_ffff)),
    ("{ 0x06, 0, 0, SECCOMP_RET_ERRNO | 1 },", insn(0x06, 0, 0, 0x0005_0001)),
    // What surrounds an instruction.
    ("; comment\n\t ret a ; comment", insn(0x16, 0, 0, 0)),
    ("// comment\nret a // comment", insn(0x16, 0, 0, 0)),
    ("/* two\n * lines **/ ret /**/ a /* ; */", insn(0x16, 0, 0, 0)),
    ("#!/usr/sbin/bpf_asm\n# 1 \"file\"\nret a\r\n", insn(0x16, 0, 0, 0)),
    ("one: two:\nthree: ret a", insn(0x16, 0, 0, 0)),
    ("ret: ret a", insn(0x16, 0, 0, 0)),
];

#[test]
fn each_form_assembles() {
    for (source, expected) in FORMS {
        assert_eq!(asm(source), Ok(vec![*expected]), "{source}");
    }
}

#[test]
fn the_forms_are_of_every_opcode_but_jumps() {
    const JMP: u16 = 0x05;
    for row in OPCODES.iter().filter(|row| row.code & 7 != JMP) {
        assert!(FORMS.iter().any(|(_, insn)| insn.code == row.code), "{row:?}");
    }
}

#[test]
fn each_jump_assembles() {
    // The label is two instructions ahead, `other` one.
    let rows = [
        ("jmp label", insn(0x05, 0, 0, 2)),
        ("ja label", insn(0x05, 0, 0, 2)),
        ("jeq #1, label, other", insn(0x15, 2, 1, 1)),
        ("jeq #1,label", insn(0x15, 2, 0, 1)),
        ("jeq x, label, other", insn(0x1d, 2, 1, 0)),
        ("jeq %x, label", insn(0x1d, 2, 0, 0)),
        ("jeq #openat, label", insn(0x15, 2, 0, 257)),
        ("jne #1, label", insn(0x15, 0, 2, 1)),
        ("jneq #1, label", insn(0x15, 0, 2, 1)),
        ("jneq x, label", insn(0x1d, 0, 2, 0)),
        ("jne #1, label, other", insn(0x15, 1, 2, 1)),
        ("jgt #1, label, other", insn(0x25, 2, 1, 1)),
        ("jgt x, label", insn(0x2d, 2, 0, 0)),
        ("jle #1, label", insn(0x25, 0, 2, 1)),
        ("jle x, label", insn(0x2d, 0, 2, 0)),
        ("jge #1, label, other", insn(0x35, 2, 1, 1)),
        ("jge x, label", insn(0x3d, 2, 0, 0)),
        ("jlt #1, label", insn(0x35, 0, 2, 1)),
        ("jlt x, label", insn(0x3d, 0, 2, 0)),
        ("jset #1, label, other", insn(0x45, 2, 1, 1)),
        ("jset x, label", insn(0x4d, 2, 0, 0)),
        ("jeq #1,\n  label,\n  other", insn(0x15, 2, 1, 1)),
    ];
    for (source, expected) in rows {
        let text = format!("{source}\n tax\nother:\n txa\nlabel: ret a");
        let program = [expected, insn(0x07, 0, 0, 0), insn(0x87, 0, 0, 0), insn(0x16, 0, 0, 0)];
        assert_eq!(asm(&text), Ok(program.to_vec()), "{source}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let rows = [
        ("", 1, "line 1: no instructions"),
        ("\n; nothing\n", 1, "line 1: no instructions"),
        ("tax\n  foo #1", 3, "line 2: unknown instruction \"foo\""),
        ("ret a b", 7, "line 1: unknown instruction \"b\""),
        ("ret a, b", 6, "line 1: found \",\", expected an instruction"),
        ("tax\n5", 1, "line 2: found \"5\", expected an instruction"),
        ("ret a\n§", 1, "line 2: found \"§\", expected an instruction"),
        ("ret x", 5, "line 1: \"ret\" does not take \"x\""),
        ("jeq [4], end", 5, "line 1: \"jeq\" does not take \"[4]\""),
        ("ldb #1", 5, "line 1: \"ldb\" does not take \"#1\""),
        ("ldxb [1]", 6, "line 1: \"ldxb\" does not take \"[1]\""),
        ("ld\nret a", 3, "line 1: found end of line, expected an operand such as #1"),
        ("add", 4, "line 1: found end of line, expected an operand such as #1"),
        ("add 5", 5, "line 1: found \"5\", expected an operand such as #1"),
        ("ret SECCOMP_RET_ALLOW", 5, "line 1: found \"SECCOMP_RET_ALLOW\", expected an operand such as #1"),
        ("add %y", 5, "line 1: found \"%\", expected an operand such as #1"),
        ("ld [x]", 6, "line 1: found \"]\", expected +"),
        ("ld [4\nret a", 6, "line 1: found end of line, expected ]"),
        ("ld M 4", 6, "line 1: found \"4\", expected ["),
        ("ld #", 5, "line 1: found end of line, expected a number"),
        ("ret #1|", 8, "line 1: found end of line, expected a number"),
        ("ld #-openat", 6, "line 1: found \"openat\", expected a number"),
        ("ldxb 5*([14]&0xf)", 6, "line 1: found \"5\", expected 4"),
        ("ldxb 4*([14]&0xe)", 14, "line 1: found \"0xe\", expected 0xf"),
        ("ld #proto", 5, "line 1: packet extension \"proto\" is not available in seccomp"),
        ("ldh vlan_tci", 5, "line 1: packet extension \"vlan_tci\" is not available in seccomp"),
        ("ret #SECCOMP_RET_NONE", 6, "line 1: unknown name \"SECCOMP_RET_NONE\""),
        ("ld #__NR_foo", 5, "line 1: unknown name \"__NR_foo\""),
        ("ldi len", 5, "line 1: unknown name \"len\""),
        ("ld #08", 5, "line 1: malformed number \"08\""),
        ("ld #0x", 5, "line 1: malformed number \"0x\""),
        ("ld #0b12", 5, "line 1: malformed number \"0b12\""),
        ("ld #12ab", 5, "line 1: malformed number \"12ab\""),
        ("ld #1_000", 5, "line 1: malformed number \"1_000\""),
        ("ld #4294967296", 5, "line 1: number \"4294967296\" does not fit 32 bits"),
        ("ld #-2147483649", 5, "line 1: number \"-2147483649\" does not fit 32 bits"),
        ("ld #0x10000000000000000", 5, "line 1: number \"0x10000000000000000\" does not fit 32 bits"),
        ("{ 0x10000, 0, 0, 0 }", 3, "line 1: number \"0x10000\" does not fit 16 bits"),
        ("{ 6, 255|256, 0, 0 }", 6, "line 1: number \"255|256\" does not fit 8 bits"),
        ("{ 6, 0, 0 }", 11, "line 1: found \"}\", expected ,"),
        ("{ 6, 0, 0, 0\nret a", 13, "line 1: found end of line, expected }"),
        ("jmp 3", 5, "line 1: found \"3\", expected a label"),
        ("jeq #1\nret a", 7, "line 1: found end of line, expected ,"),
        ("jeq #1,", 8, "line 1: found end of line, expected a label"),
        ("jmp\n{ 6, 0, 0, 0 }", 4, "line 1: found end of line, expected a label"),
        ("jmp away\nret a", 5, "line 1: label \"away\" is not defined"),
        ("jmp L1\nl1: ret a", 5, "line 1: label \"L1\" is not defined"),
        ("l: ret a\nl: ret a", 1, "line 2: label \"l\" is already defined"),
        ("jmp end\nret a\nend:\n", 1, "line 3: label \"end\" has no instruction after it"),
        ("l: jmp l\nret a", 8, "line 1: label \"l\" is not ahead, jumps only go forward"),
        ("tax\nl: ret a\njeq x, l\nret a", 8, "line 3: label \"l\" is not ahead, jumps only go forward"),
        ("ret a\n/* open\n", 1, "line 2: comment is never closed"),
        ("ret /* open a", 5, "line 1: comment is never closed"),
        ("/*/ ret a", 1, "line 1: comment is never closed"),
    ];
    for (source, column, expected) in rows {
        let error = asm(source).expect_err(source);
        assert_eq!((error.to_string().as_str(), error.column), (expected, column), "{source}");
    }
}

#[test]
fn jumps_reach_as_far_as_their_fields() {
    let source = |jump: &str, skipped: usize| format!("{jump}\n{}far: ret a", "tax\n".repeat(skipped));
    assert_eq!(asm(&source("jeq #1, far", 255)).unwrap()[0], insn(0x15, 255, 0, 1));
    assert_eq!(asm(&source("jne #1, far", 255)).unwrap()[0], insn(0x15, 0, 255, 1));
    assert_eq!(asm(&source("jmp far", 4094)).unwrap()[0], insn(0x05, 0, 0, 4094));
    assert_eq!(
        asm(&source("jeq #1, far", 256)).unwrap_err().to_string(),
        "line 1: label \"far\" is 256 instructions away, a conditional jump skips at most 255"
    );
}

#[test]
fn programs_end_at_4096_instructions() {
    assert_eq!(asm(&"ret a\n".repeat(MAX_INSNS)).unwrap().len(), MAX_INSNS);
    let source = "ret a\n".repeat(MAX_INSNS + 1);
    let error = asm(&source).unwrap_err();
    assert_eq!(error, AsmError { line: 4097, column: 1, kind: AsmErrorKind::TooLong });
    assert_eq!(error.to_string(), "line 4097: more than 4096 instructions");
}

#[test]
fn disassembly_reads_well() {
    let program = [
        insn(0x20, 0, 0, 4),
        insn(0x15, 1, 0, 0xc000_003e),
        insn(0x06, 0, 0, 0x8000_0000),
        insn(0x20, 0, 0, 0),
        insn(0x15, 0, 1, 257),
        insn(0x06, 0, 0, 0x0005_0001),
        insn(0x20, 0, 0, 20),
        insn(0x45, 0, 1, 0x40),
        insn(0x05, 0, 0, 1),
        insn(0x06, 0, 0, 0x1234_0000),
        insn(0x20, 1, 0, 12),
        insn(0x0c, 0, 0, 7),
        insn(0x1d, 0, 9, 0),
        insn(0x1234, 0, 0, 0),
        insn(0x16, 0, 0, 0),
    ];
    let expected = "        \
        ld [4]                         ; arch
        jeq #0xc000003e, L3, L2        ; AUDIT_ARCH_X86_64
L2:     ret #0x80000000                ; KILL_PROCESS
L3:     ld [0]                         ; nr
        jeq #257, L5, L6
L5:     ret #0x50001                   ; ERRNO(1)
L6:     ld [20]                        ; args[0] (high)
        jset #0x40, L8, L9
L8:     jmp L10
L9:     ret #0x12340000                ; unknown action, KILL_PROCESS
L10:    { 0x20, 1, 0, 0x0000000c }     ; ld [12] ; instruction_pointer (high)
        { 0x0c, 0, 0, 0x00000007 }     ; add x
        { 0x1d, 0, 9, 0x00000000 }     ; jeq x, L13, L22
L13:    { 0x1234, 0, 0, 0x00000000 }   ; unknown opcode
        ret a
";
    assert_eq!(Disassembly(&program).to_string(), expected);
}

#[test]
fn every_vector_round_trips() {
    for vector in vectors::programs().iter().filter(|vector| (1..=MAX_INSNS).contains(&vector.program.len()))
    {
        let text = Disassembly(&vector.program).to_string();
        assert_eq!(asm(&text).as_ref(), Ok(&vector.program), "{}", vector.name);
    }
}

fn any_insn() -> impl Strategy<Value = SockFilter> {
    let code =
        prop_oneof![8 => select(OPCODES.map(|row| row.code).to_vec()), 1 => 0..=0xffu16, 1 => any::<u16>()];
    let jump = || prop_oneof![4 => Just(0), 3 => 0..8u8, 1 => any::<u8>()];
    let k = prop_oneof![
        Just(0),
        0..16u32,
        0..5000u32,
        select(vec![0x7fff_0000, 0x8000_0000, 0x0005_0001, 0xc000_003e, u32::MAX]),
        any::<u32>(),
    ];
    (code, jump(), jump(), k).prop_map(|(code, jt, jf, k)| insn(code, jt, jf, k))
}

fn any_program() -> impl Strategy<Value = Vec<SockFilter>> {
    prop_oneof![
        8 => vec(any_insn(), 1..12),
        8 => vec(any_insn(), 1..600),
        1 => vec(any_insn(), MAX_INSNS - 2..=MAX_INSNS),
    ]
}

/// One change of a text.
fn any_edit() -> impl Strategy<Value = (Index, Index, String)> {
    let piece = prop_oneof![
        select(FORMS).prop_map(|(source, _)| String::from(source)),
        select(vec!["", "#", "[", "|", "-", ",", ":", "{", "/*", "*/", "%", "\n", "L1", "0x", "é", "\0"])
            .prop_map(String::from),
        any::<String>(),
    ];
    (any::<Index>(), any::<Index>(), piece)
}

/// The text with the characters from one index to another replaced.
fn edited(text: &str, from: Index, to: Index, piece: &str) -> String {
    let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = from.index(bounds.len());
    let to = from + to.index(8.min(bounds.len() - from));
    [&text[..bounds[from]], piece, &text[bounds[to]..]].concat()
}

proptest! {
    #[test]
    fn any_program_round_trips(program in any_program()) {
        let text = Disassembly(&program).to_string();
        prop_assert_eq!(asm(&text), Ok(program));
    }

    #[test]
    fn any_text_is_a_program_or_an_error(text: String) {
        let _ = asm(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn any_line_of_tokens_is_a_program_or_an_error(
        tokens in vec(prop_oneof![
            select(OPCODES.map(|row| row.mnemonic).to_vec()),
            select(vec!["ja", "jlt", "ldi", "L1", "L1:", "x", "a", "M", "len", "proto", "SECCOMP_RET_TRAP"]),
            select(vec!["1", "4", "0xf", "-", "+", "#", "%", "[", "]", "(", ")", "*", "&", "|", ",", "{", "}"]),
            select(vec![";", "//", "/*", "*/", "\n"]),
        ], 0..40),
    ) {
        let _ = asm(&tokens.join(" ")).map_err(|error| error.to_string());
    }

    #[test]
    fn an_edited_program_is_a_program_or_an_error(
        program in vec(any_insn(), 1..12),
        edits in vec(any_edit(), 1..6),
    ) {
        let mut text = Disassembly(&program).to_string();
        for (from, to, piece) in edits {
            text = edited(&text, from, to, &piece);
        }
        if let Ok(program) = asm(&text) {
            let text = Disassembly(&program).to_string();
            prop_assert_eq!(asm(&text), Ok(program));
        }
    }
}

#[test]
fn listing_shows_bytes_and_text() {
    let source = "ld [4]\njeq #62, good\nret #0x7fff0000\ngood: st M[0]\nret a";
    let program = check(asm(source).unwrap()).unwrap();
    let translated = translate(&program).unwrap();
    let expected = "    \
    0: ac 00 00 00 00 00 00 00  w0 ^= w0
    1: ac 77 00 00 00 00 00 00  w7 ^= w7
    2: bf 16 00 00 00 00 00 00  r6 = r1
    3: 61 60 04 00 00 00 00 00  r0 = *(u32 *)(r6 +4)
    4: 15 00 02 00 3e 00 00 00  if r0 == 0x3e goto +2
    5: b4 00 00 00 00 00 ff 7f  w0 = 2147418112
    6: 95 00 00 00 00 00 00 00  exit
    7: 63 0a fc ff 00 00 00 00  *(u32 *)(r10 -4) = r0
    8: 95 00 00 00 00 00 00 00  exit
";
    assert_eq!(EbpfListing(translated.insns()).to_string(), expected);
}

/// The text of the first instruction of a program.
fn listed(insns: &[Insn]) -> String {
    let listing = EbpfListing(insns).to_string();
    listing.lines().next().unwrap()["    0: 00 00 00 00 00 00 00 00  ".len()..].to_string()
}

#[test]
fn each_kind_of_ebpf_has_its_text() {
    let rows = [
        (Insn::new(0x07, 1, 0, 0, -5), "r1 += -5"),
        (Insn::new(0xc7, 1, 0, 0, 3), "r1 s>>= 3"),
        (Insn::new(0x87, 1, 0, 0, 0), "r1 = -r1"),
        (Insn::new(0x84, 1, 0, 0, 0), "w1 = -w1"),
        (Insn::new(0xd4, 1, 0, 0, 16), "r1 = le16 r1"),
        (Insn::new(0xdc, 1, 0, 0, 64), "r1 = be64 r1"),
        (Insn::new(0xbf, 1, 2, 8, 0), "r1 = (s8)r2"),
        (Insn::new(0xbc, 1, 2, 16, 0), "w1 = (s16)w2"),
        (Insn::new(0x37, 1, 0, 1, 7), "r1 s/= 7"),
        (Insn::new(0x9c, 1, 2, 1, 0), "w1 s%= w2"),
        (Insn::new(0xd7, 1, 0, 0, 32), "r1 = bswap32 r1"),
        (Insn::new(0x06, 0, 0, 0, -7), "gotol -7"),
        (Insn::new(0x91, 1, 2, 4, 0), "r1 = *(s8 *)(r2 +4)"),
        (Insn::new(0x05, 0, 0, -2, 0), "goto -2"),
        (Insn::new(0x5d, 1, 2, 3, 0), "if r1 != r2 goto +3"),
        (Insn::new(0xc6, 1, 0, 3, -1), "if w1 s< 0xffffffff goto +3"),
        (Insn::new(0x85, 0, 0, 0, 5), "call 5"),
        (Insn::new(0x85, 0, 1, 0, -3), "call pc-3"),
        (Insn::new(0x30, 0, 0, 0, 12), "r0 = *(u8 *)skb[12]"),
        (Insn::new(0x48, 0, 7, 0, 12), "r0 = *(u16 *)skb[r7 + 12]"),
        (Insn::new(0x79, 1, 2, 8, 0), "r1 = *(u64 *)(r2 +8)"),
        (Insn::new(0x72, 10, 0, -1, 255), "*(u8 *)(r10 -1) = 255"),
        (Insn::new(0xdb, 1, 2, 0, 0x00), "lock *(u64 *)(r1 +0) += r2"),
        (Insn::new(0xc3, 1, 2, 0, 0x41), "r2 = atomic_fetch_or((u32 *)(r1 +0), r2)"),
        (Insn::new(0xdb, 1, 2, 0, 0xe1), "r2 = atomic64_xchg((u64 *)(r1 +0), r2)"),
        (Insn::new(0xc3, 1, 2, 0, 0xf1), "r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)"),
        (Insn::new(0xdb, 1, 2, 0, 0x10), "(unknown)"),
        (Insn::new(0x8f, 0, 0, 0, 0), "(unknown)"),
        (Insn::new(0x18, 1, 0, 0, 1), "(second half missing)"),
    ];
    for (insn, text) in rows {
        assert_eq!(listed(&[insn]), text);
    }
}

#[test]
fn a_64_bit_constant_takes_two_lines() {
    let insns = [Insn::new(0x18, 1, 0, 0, -2), Insn::new(0x95, 0, 0, 0, 1), Insn::new(0x95, 0, 0, 0, 0)];
    let expected = "    \
    0: 18 01 00 00 fe ff ff ff  r1 = 0x1fffffffe
    1: 95 00 00 00 01 00 00 00  (second half)
    2: 95 00 00 00 00 00 00 00  exit
";
    assert_eq!(EbpfListing(&insns).to_string(), expected);
}

#[test]
fn a_map_is_named_by_its_index() {
    let listed =
        |src| listed(&[Insn::new(0x18, 1, src, 0, 3), Insn::new(0, 0, 0, 0, 8 * i32::from(src == 2))]);
    assert!(listed(1).starts_with("r1 = map[3]"), "{}", listed(1));
    assert!(listed(2).starts_with("r1 = map[3][0]+8"), "{}", listed(2));
}

#[test]
fn every_ebpf_opcode_has_a_text() {
    for code in 0..=u8::MAX {
        let text = listed(&[Insn::new(code, 1, 2, 3, 0), Insn::default()]);
        let insn = Insn::new(code, 1, 2, 3, 0);
        let known = Opcode::decode(code).is_some() || Unsupported::of(insn).is_some();
        assert_eq!(text == "(unknown)", !known, "{code:#04x}: {text}");
    }
}

#[test]
fn every_translated_vector_lists_one_line_an_instruction() {
    for vector in vectors::programs() {
        let vectors::Answer::Accepted(bytes) = vector.answer else { continue };
        let (insns, _) = bytes.as_chunks::<{ ebpf::INSN_SIZE }>();
        let insns: Vec<Insn> = insns.iter().map(|bytes| Insn::from_le_bytes(*bytes)).collect();
        let listing = EbpfListing(&insns).to_string();
        assert_eq!(listing.lines().count(), insns.len(), "{}", vector.name);
        assert!(!listing.contains("(unknown)"), "{}", vector.name);
    }
}
