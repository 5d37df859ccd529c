//! Object files of eBPF: what clang makes, what is refused and with which words, and files that are broken.

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{Imm64, Instruction};
use rand::Rng;
use seccomp_rbpf::object::{Object, ObjectError};
use seccomp_runtime::verifier::{Environment, Helper, MapAccess, MapKind, Program, verify};
use seccomp_runtime::{AtFork, HELPERS, TaskScope};
use seccomp_tests::clang::{assemble, compile};
use seccomp_tests::generate::{campaign, rng, seed};

/// What the programs here need of a header.
const PRELUDE: &str = "
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) __typeof__(val) *name
typedef unsigned int u32;
typedef unsigned long long u64;
struct seccomp_data { int nr; u32 arch; u64 ip; u64 args[6]; };
struct bpf_map_def { u32 type, key_size, value_size, max_entries, map_flags; };
__attribute__((unused)) static void *(*const lookup)(void *, const void *) = (void *)1;
__attribute__((unused)) static u64 (*const ktime)(void) = (void *)5;
";

/// Maps of every kind of definition, variables of every kind, and functions in two sections.
const WHOLE: &str = r#"
struct key { u32 nr; char tag[4]; };
typedef struct key key_type;
struct { __uint(type, 1); __uint(max_entries, 64); __type(key, key_type); __type(value, u64[3]); } counts SEC(".maps");
static struct { __uint(type, 2); __uint(max_entries, 8); __uint(map_flags, 128); __uint(key_size, 4);
    __uint(value_size, 8); __type(value, u64); } limits SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, 29); __uint(max_entries, 16); __type(key, int); __type(value, u32);
    __uint(scope, 1); __uint(at_fork, 1); } tasks SEC(".maps");
struct bpf_map_def SEC("maps") recent = { 9, 8, 16, 32, 0 };

u64 total;
static u64 hidden;
u64 start = 7;
const volatile u64 limit[3] = { 1, 2, 3 };

static __attribute__((noinline)) u64 inner(u64 a) { hidden += a; return a * limit[a & 1]; }
__attribute__((noinline)) u64 outer(u64 a) { return inner(a) + inner(a + 1); }
static __attribute__((noinline, section("seccomp"))) u64 beside(u64 a) { start += a; return a / 3; }

SEC("seccomp") int filter(struct seccomp_data *data)
{
    key_type key = { data->nr, "abc" };
    u64 *value = lookup(&counts, &key);
    if (value)
        value[2] += 1;
    u32 index = data->arch & 7;
    value = lookup(&limits, &index);
    if (value)
        total += *value;
    value = lookup(&recent, &data->args[0]);
    if (value)
        value[1] = beside(total);
    return outer(data->args[1] & 15) > 4 ? 0x7fff0000 : 0;
}
"#;

fn helpers() -> Vec<Helper> {
    HELPERS.iter().map(|row| row.helper).collect()
}

fn c(source: &str, options: &[&str]) -> Vec<u8> {
    compile(&format!("{PRELUDE}{source}"), options).expect("it is C")
}

fn assert_verified(object: &Object, what: &str) {
    let (maps, helpers) = (object.descriptors(), helpers());
    for filter in &object.filters {
        let environment = Environment { maps: &maps, helpers: &helpers };
        if let Err(error) = verify(Program::new(filter.insns.clone()), &environment) {
            panic!("{what}: {}: {error}", filter.name);
        }
    }
}

fn map_loads(insns: &[Insn]) -> Vec<Imm64> {
    let decode = |(pc, insn): (usize, &Insn)| Instruction::decode(*insn, insns.get(pc + 1).copied()).ok();
    let loads = insns.iter().enumerate().filter_map(decode).filter_map(|insn| match insn {
        Instruction::LoadImm64 { imm: imm @ (Imm64::Map(_) | Imm64::MapValue { .. }), .. } => Some(imm),
        _ => None,
    });
    loads.collect()
}

#[test]
fn what_clang_makes_is_verified() {
    for level in ["-O0", "-O1", "-O2", "-O3"] {
        for cpu in ["-mcpu=v1", "-mcpu=v2", "-mcpu=v3"] {
            let object = Object::parse(&c(WHOLE, &[level, cpu])).unwrap();
            assert_verified(&object, &format!("{level} {cpu}"));
        }
    }
}

#[test]
fn maps_and_variables_are_as_they_are_written() {
    let object = Object::parse(&c(WHOLE, &["-O2"])).unwrap();
    let described: Vec<_> = object
        .maps
        .iter()
        .map(|map| {
            let d = map.descriptor;
            (map.name.as_str(), d.kind, d.key_size, d.value_size, d.max_entries, d.access, map.freeze)
        })
        .collect();
    use MapAccess::{ReadOnly, ReadWrite};
    use MapKind::{Array, Hash, LruHash, Ring, TaskStorage};
    // The section `maps` comes first here.
    assert_eq!(
        described[..5],
        [
            ("recent", LruHash, 8, 16, 32, ReadWrite, false),
            ("counts", Hash, 8, 24, 64, ReadWrite, false),
            ("limits", Array, 4, 8, 8, ReadOnly, false),
            ("events", Ring, 0, 0, 4096, ReadWrite, false),
            ("tasks", TaskStorage, 4, 4, 16, ReadWrite, false),
        ]
    );
    let mut variables = described[5..].to_vec();
    variables.sort_unstable_by_key(|variables| variables.0);
    assert_eq!(
        variables,
        [
            (".bss", Array, 4, 16, 1, ReadWrite, false),
            (".data", Array, 4, 8, 1, ReadWrite, false),
            (".rodata", Array, 4, 24, 1, ReadOnly, true),
        ]
    );
    let map = |name: &str| object.maps.iter().position(|map| map.name == name).unwrap();
    assert_eq!(object.maps[map("tasks")].options.scope, TaskScope::ThreadGroup);
    assert_eq!(object.maps[map("tasks")].options.at_fork, AtFork::Copy);

    let maps = object.create_maps([1, 2]).unwrap();
    let value = |name: &str| {
        let mut value = vec![0xee; object.maps[map(name)].descriptor.value_size as usize];
        maps[map(name)].lookup(&0_u32.to_ne_bytes(), &mut value).unwrap();
        value
    };
    assert_eq!(value(".data"), 7_u64.to_le_bytes());
    assert_eq!(value(".bss"), [0; 16]);
    assert_eq!(value(".rodata"), [1_u64, 2, 3].map(u64::to_le_bytes).concat());
    assert!(maps[map(".rodata")].is_frozen() && !maps[map(".data")].is_frozen());
    assert_eq!(maps[0].options().seed, [1, 2]);

    // `total` and `hidden` are different bytes of one value, `recent` and `counts` different maps.
    let loads = map_loads(&object.filter(None).unwrap().insns);
    let bss = map(".bss") as u32;
    for offset in [0, 8] {
        assert!(loads.contains(&Imm64::MapValue { map: bss, offset }), "{loads:?}");
    }
    for name in ["counts", "limits", "recent"] {
        assert!(loads.contains(&Imm64::Map(map(name) as u32)), "{name}: {loads:?}");
    }
}

#[test]
fn each_filter_has_its_own_functions() {
    let source = r#"
        __attribute__((noinline)) int shared(int a) { return a * (int)ktime(); }
        static __attribute__((noinline)) int only(int a) { return a + (int)ktime(); }
        SEC("seccomp") int first(struct seccomp_data *data) { return shared(data->nr); }
        SEC("seccomp") int second(struct seccomp_data *data) { return only(shared(data->nr)); }
        SEC("seccomp/third") int anything(struct seccomp_data *data) { return data->nr; }
    "#;
    let object = Object::parse(&c(source, &["-O1"])).unwrap();
    assert_verified(&object, "several filters");
    let names: Vec<_> = object.filters.iter().map(|filter| filter.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third"]);
    let functions = |name: &str| {
        let program = object.filter(Some(name)).unwrap().insns.clone();
        let helpers = helpers();
        let environment = Environment { maps: &[], helpers: &helpers };
        verify(Program::new(program), &environment).unwrap().functions().len()
    };
    assert_eq!([functions("first"), functions("second"), functions("third")], [2, 3, 1]);
    assert_eq!(
        object.filter(None).unwrap_err().to_string(),
        "several filters, name one of first, second, third"
    );
    assert_eq!(
        object.filter(Some("fourth")).unwrap_err().to_string(),
        "no filter is called fourth, there is first, second, third"
    );
}

/// Programs that clang compiles and that are refused here, each with the words.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("int filter(void) { return 0; }",
     "no filter: no global function is in a section seccomp or seccomp/NAME"),
    (r#"static SEC("seccomp") int filter(void) { return 0; }"#,
     "no filter: no global function is in a section seccomp or seccomp/NAME"),
    (r#"SEC("seccomp/a") int f(void) { return 0; } SEC("seccomp/a") int g(void) { return 1; }"#,
     "two filters are called a"),
    (r#"int other(int); SEC("seccomp") int filter(struct seccomp_data *d) { return other(d->nr); }"#,
     "section seccomp, offset 0x8: other is not defined in this object"),
    (r#"extern int other; SEC("seccomp") int filter(void) { return other; }"#,
     "section seccomp, offset 0x0: other is not defined in this object"),
    (r#"u64 n; SEC("seccomp") int filter(void) { __sync_fetch_and_add(&n, 1); return 0; }"#,
     "section seccomp, offset 0x18: atomic is not supported: use plain loads and stores, or one value for each \
      thread in task storage"),
    (r#"static int f(void) { return 1; } int (*volatile p)(void);
        SEC("seccomp") int filter(void) { p = f; return 0; }"#,
     "section seccomp, offset 0x10: takes the address of a function, f: functions can only be called"),
    (r#"int (*p)(void); SEC("seccomp") int filter(void) { return p(); }"#,
     "section seccomp, offset 0x18: a call through a pointer: call functions and helpers by name"),
    (r#"const char *names[] = { "a", "b" };
        SEC("seccomp") int filter(struct seccomp_data *d) { return names[d->nr & 1][0]; }"#,
     "section .data, offset 0x0: a variable holds an address: only numbers can be in variables"),
    (r#"SEC("license") char _license[] = "GPL"; SEC("seccomp") int filter(void) { return _license[1]; }"#,
     "section seccomp, offset 0x0: refers to section license, which has no maps, variables or functions"),
    (r#"char much[65537]; SEC("seccomp") int filter(struct seccomp_data *d) { much[d->nr & 1] = 1; return 0; }"#,
     "map .bss: 65537 bytes of variables, more than a value can have"),
    (r#"struct { __uint(type, 6); __uint(max_entries, 1); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: type 6 is not supported: hash 1, array 2, LRU hash 9, ring buffer 27 and task storage 29 are"),
    (r#"struct { __uint(max_entries, 1); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member type is missing"),
    (r#"struct { __uint(type, 1); __type(key, int); __type(value, int); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member max_entries is missing"),
    (r#"struct { __uint(type, 1); __uint(max_entries, 1); __type(value, int); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member key is missing"),
    (r#"struct { __uint(type, 1); __uint(max_entries, 1); __type(key, int); __uint(key_size, 8); } m SEC(".maps");
        SEC("seccomp") int f(void) { return 0; }"#,
     "map m: key and key_size differ"),
    (r#"struct { __uint(type, 1); __uint(max_entries, 1); __type(key, int); __type(value, int); __uint(map_flags, 1025); } m SEC(".maps");
        SEC("seccomp") int f(void) { return 0; }"#,
     "map m: map_flags BPF_F_NO_PREALLOC and BPF_F_MMAPABLE are not supported"),
    (r#"struct { __uint(type, 1); __uint(max_entries, 1); __type(key, int); __type(value, int); __uint(map_flags, 1 << 20); } m SEC(".maps");
        SEC("seccomp") int f(void) { return 0; }"#,
     "map m: map_flags 0x100000 are not supported"),
    (r#"struct { __uint(type, 1); __uint(pinning, 1); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member pinning means nothing here"),
    (r#"struct { int type; } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member type has not the type that __uint() or __type() gives it"),
    (r#"int m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#,
     "map m: its type is no struct of __uint() and __type() members"),
    (r#"struct { __uint(type, 1); __uint(max_entries, 1); __type(key, int); __type(value, int); __uint(scope, 1); } m SEC(".maps");
        SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member scope means nothing here"),
    (r#"struct { __uint(type, 29); __uint(max_entries, 1); __type(key, int); __type(value, int); __uint(at_fork, 2); } m SEC(".maps");
        SEC("seccomp") int f(void) { return 0; }"#,
     "map m: member at_fork cannot be 2"),
    (r#"SEC("maps") u32 m[3] = { 1, 4, 4 }; SEC("seccomp") int f(void) { return 0; }"#,
     "map m: its struct bpf_map_def is cut short"),
    (r#"SEC("maps") u32 m[7] = { 1, 4, 4, 1, 0, 0, 1 }; SEC("seccomp") int f(void) { return 0; }"#,
     "map m: fields behind map_flags are not 0: nothing is pinned here"),
    (r#"struct cred { int uid; } __attribute__((preserve_access_index));
        SEC("seccomp") int f(struct cred *c) { return c->uid; }"#,
     "section .BTF.ext has CO-RE relocations, and there are no kernel types here: leave preserve_access_index out"),
];

#[test]
fn what_cannot_be_run_is_refused_in_one_line() {
    let mut wrong = Vec::new();
    for (source, expected) in REFUSED {
        let error =
            Object::parse(&c(source, &["-O1", "-Wno-extern-initializer"])).expect_err(source).to_string();
        if error != *expected {
            wrong.push(format!("{source}\n  {error}\n  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn maps_without_types_are_refused() {
    let source = r#"struct { __uint(type, 1); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#;
    let error = Object::parse(&c(source, &["-O1", "-g0"])).unwrap_err();
    assert_eq!(error.to_string(), "map m: section .BTF does not describe it: compile with clang -g");
}

/// Programs that only an assembler makes.
#[rustfmt::skip]
const ASSEMBLED: &[(&str, &str)] = &[
    (".section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: r0 = 0\nexit\n.byte 0",
     "section seccomp ends within an instruction"),
    (".section seccomp,\"ax\"\n.globl f\n.type f,@function\nr0 = 0\n.byte 0\nf: r0 = 0\nexit\n",
     "function f does not begin at an instruction"),
    // movsx, ldsx and gotol, which this assembler need not know.
    (".section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: .quad 0x0000000000081abf\nexit",
     "section seccomp, offset 0x0: movsx is not supported: it is one of -mcpu=v4, compile with -mcpu=v3"),
    (".section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: r0 = 0\n.quad 0x0000000000001091\nexit",
     "section seccomp, offset 0x8: ldsx is not supported: it is one of -mcpu=v4, compile with -mcpu=v3"),
    (".section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: r0 = *(u8 *)skb[0]\nexit",
     "section seccomp, offset 0x0: ld_abs is not supported: there are no packets"),
    (".text\nr0 = 0\nexit\n.section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: call .text\nexit",
     "section seccomp, offset 0x0: a call to where no function begins"),
    (".section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: r0 = 0\n.quad f\nexit",
     "section seccomp, offset 0x8: relocation of type 2 means nothing there"),
    (".section maps,\"aw\"\n.globl m\nm: .long 1, 4, 4, 1, 0\n.section seccomp,\"ax\"\n.globl f\n\
      .type f,@function\nf: r1 = m + 8 ll\nexit",
     "section seccomp, offset 0x0: refers to offset 8 of section maps, where nothing begins"),
    (".section .rodata,\"a\"\nv: .quad 1\n.section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: r1 = v + 8 ll\nexit",
     "section seccomp, offset 0x0: refers to offset 8 of section .rodata, where nothing begins"),
    (".comm v,8\n.section seccomp,\"ax\"\n.globl f\n.type f,@function\nf: r1 = v ll\nexit",
     "section seccomp, offset 0x0: v is a common symbol: compile with -fno-common"),
];

#[test]
fn a_function_is_there_once_and_has_its_global_name() {
    let source = ".section seccomp,\"ax\"\n.type local,@function\nlocal:\n.globl f\n.type f,@function\n\
                  f: call g\ncall g\nexit\n.type g,@function\ng: r0 = 0\nexit";
    let object = Object::parse(&assemble(source).unwrap()).unwrap();
    assert_eq!((object.filters[0].name.as_str(), object.filters[0].insns.len()), ("f", 5));
    assert_verified(&object, "a function that is called twice");
}

#[test]
fn types_have_their_sizes_however_many_parts_they_have() {
    let names: Vec<_> = (0..300).map(|index| format!("e{index}")).collect();
    let source = format!(
        "enum many {{ {} }}; struct {{ __uint(type, 1); __uint(max_entries, 1); __type(key, enum many[3]); \
         __type(value, char *); }} m SEC(\".maps\"); SEC(\"seccomp\") int f(void) {{ return 0; }}",
        names.join(", ")
    );
    let descriptor = Object::parse(&c(&source, &["-O1"])).unwrap().maps[0].descriptor;
    assert_eq!((descriptor.key_size, descriptor.value_size), (12, 8));
}

/// A small file can have filters that are long only because each has what it calls.
#[test]
fn what_filters_share_does_not_make_them_endless() {
    let shared = "r0 = 0\n".repeat(16_000);
    let filters: String = (0..80)
        .map(|index| format!(".globl f{index}\n.type f{index},@function\nf{index}: call shared\nexit\n"))
        .collect();
    let source =
        format!(".text\n.type shared,@function\nshared: {shared}exit\n.section seccomp,\"ax\"\n{filters}");
    let error = Object::parse(&assemble(&source).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the filters, each with the functions that it calls, have more than 1048576 instructions"
    );
}

#[test]
fn linuxs_flag_for_copies_is_understood() {
    let source = r#"struct { __uint(type, 29); __uint(max_entries, 1); __type(key, int); __type(value, int);
        __uint(map_flags, 1 | 512); } m SEC(".maps"); SEC("seccomp") int f(void) { return 0; }"#;
    let object = Object::parse(&c(source, &["-O1"])).unwrap();
    assert_eq!(object.maps[0].options.at_fork, AtFork::Copy);
}

#[test]
fn what_only_an_assembler_makes_is_refused_in_one_line() {
    for (source, expected) in ASSEMBLED {
        let object = assemble(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(Object::parse(&object).expect_err(source).to_string(), *expected, "{source}");
    }
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let words = |bytes: &[u8]| Object::parse(bytes).unwrap_err().to_string();
    assert_eq!(words(b""), "not a readable ELF file: it does not begin as one");
    assert_eq!(words(b"int f;"), "not a readable ELF file: it does not begin as one");
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(words(&program), "an object for machine 62, eBPF is 247: compile with clang -target bpf");

    let whole = c(r#"SEC("seccomp") int f(void) { return 0; }"#, &["-O1"]);
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        words(&bytes)
    };
    assert_eq!(with(4, 1), "a 32-bit ELF file, eBPF has 64: compile with clang -target bpf");
    assert_eq!(with(5, 2), "a big-endian object: compile with clang -target bpfel");
    assert_eq!(with(16, 3), "a linked file, not an object: compile with clang -c");
    let big = compile("int f(void) { return 0; }", &["--target=bpfeb"]).unwrap();
    assert_eq!(words(&big), "a big-endian object: compile with clang -target bpfel");
}

/// The layout that Rust's bpf-linker gives what aya's macros write: definitions of seven words in `maps`, each a
/// symbol with a mangled name or none that C could have, functions of their own sections, no types. Written in
/// assembler, since that linker is no package.
const AYA: &str = r#"
    .section seccomp,"ax",@progbits
    .globl filter
    .type filter,@function
filter:
    r6 = r1
    r2 = *(u32 *)(r6 + 0)
    *(u32 *)(r10 - 4) = r2
    r2 = r10
    r2 += -4
    r1 = _ZN5probe6COUNTS17h0123456789abcdefE ll
    call 1
    if r0 == 0 goto nothing
    r1 = *(u64 *)(r0 + 0)
    r1 += 1
    *(u64 *)(r0 + 0) = r1
nothing:
    r1 = LIMIT ll
    r1 = *(u32 *)(r1 + 0)
    call _ZN5probe6decide17h0123456789abcdefE
    exit
    .size filter, . - filter

    .section .text._ZN5probe6decide17h0123456789abcdefE,"ax",@progbits
    .type _ZN5probe6decide17h0123456789abcdefE,@function
_ZN5probe6decide17h0123456789abcdefE:
    r0 = 2147418112 ll
    if r1 > 3 goto +1
    r0 = 0
    exit
    .size _ZN5probe6decide17h0123456789abcdefE, . - _ZN5probe6decide17h0123456789abcdefE

    .section maps,"aw",@progbits
    .p2align 2
    .globl EVENTS
    .type EVENTS,@object
EVENTS: .long 27, 0, 0, 4096, 0, 0, 0
    .size EVENTS, 28
    .type _ZN5probe6COUNTS17h0123456789abcdefE,@object
_ZN5probe6COUNTS17h0123456789abcdefE: .long 1, 4, 8, 1024, 0, 0, 0
    .size _ZN5probe6COUNTS17h0123456789abcdefE, 28

    .section .rodata,"a",@progbits
    .globl LIMIT
    .type LIMIT,@object
LIMIT: .long 5
    .size LIMIT, 4

    .section license,"aw",@progbits
    .asciz "MIT"
"#;

#[test]
fn objects_of_ayas_layout_are_verified() {
    let object = Object::parse(&assemble(AYA).unwrap()).unwrap();
    assert_verified(&object, "aya");
    let names: Vec<_> = object.maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, ["EVENTS", "_ZN5probe6COUNTS17h0123456789abcdefE", ".rodata"]);
    assert_eq!(map_loads(&object.filters[0].insns), [Imm64::Map(1), Imm64::MapValue { map: 2, offset: 0 }]);
}

/// What is read of a broken file need not be refused, but what is made of it has to hold together.
fn check_broken(bytes: &[u8]) -> Result<(), ObjectError> {
    let object = Object::parse(bytes)?;
    assert!(!object.filters.is_empty());
    let (maps, helpers) = (object.descriptors(), helpers());
    for filter in &object.filters {
        // An error is as good as none.
        let _ = verify(Program::new(filter.insns.clone()), &Environment { maps: &maps, helpers: &helpers });
    }
    Ok(())
}

#[test]
fn cut_files_are_no_panic() {
    for object in [c(WHOLE, &["-O2"]), assemble(AYA).unwrap()] {
        let accepted = (0..object.len()).filter(|len| check_broken(&object[..*len]).is_ok()).count();
        // The table of sections is at the end.
        assert_eq!(accepted, 0);
    }
}

#[test]
fn broken_files_are_no_panic() {
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let objects = [c(WHOLE, &["-O2"]), c(WHOLE, &["-O0", "-mcpu=v1"]), assemble(AYA).unwrap()];
    let files = campaign(20_000, "SECCOMP_BROKEN_OBJECTS");
    let mut accepted = 0_u64;
    for index in 0..files {
        let mut rng = rng(seed.wrapping_add(index));
        let mut bytes = objects[index as usize % objects.len()].clone();
        for _ in 0..rng.random_range(1..=4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at] = rng.random(),
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
                _ => {
                    // A whole word, as counts and sizes are.
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].fill([0, 0xff, 0x7f][rng.random_range(0..3)]);
                }
            }
        }
        accepted += u64::from(check_broken(&bytes).is_ok());
    }
    println!("of {files} broken files {accepted} can be read");
    assert!(accepted > 0 && accepted < files);
}
