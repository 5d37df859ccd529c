//! The control flow that is drawn is the program's: going through its nodes gives what running the program gives.

use std::fs;
use std::path::Path;

use cbpf_translator::cbpf::{AluOp, Opcode, SCRATCH_SLOTS, Source};
use cbpf_translator::{Checked, SockFilter, asm, check, seccomp};
use rand::Rng;
use rand::rngs::SmallRng;
use seccomp_kernel::Arch;
use seccomp_rbpf::flow::{Case, End, Flow, Node, Subject, When};
use seccomp_rbpf::symbolic::alu;
use seccomp_rbpf::trace::trace;
use seccomp_runtime::SeccompData;
use seccomp_tests::generate;

/// Registers as they are after the statements of nodes, and of nothing else.
#[derive(Default)]
struct Registers {
    a: u32,
    x: u32,
    m: [u32; SCRATCH_SLOTS],
}

impl Registers {
    /// `None` if the program ends there, with 0.
    fn run(&mut self, (opcode, insn): (Opcode, SockFilter), data: &SeccompData) -> Option<()> {
        let k = insn.k;
        match opcode {
            Opcode::LdAbs(_) => self.a = data.word(k).unwrap(),
            Opcode::LdImm => self.a = k,
            Opcode::LdxImm => self.x = k,
            Opcode::LdLen => self.a = 64,
            Opcode::LdxLen => self.x = 64,
            Opcode::LdMem => self.a = self.m[k as usize],
            Opcode::LdxMem => self.x = self.m[k as usize],
            Opcode::St => self.m[k as usize] = self.a,
            Opcode::Stx => self.m[k as usize] = self.x,
            Opcode::Alu(AluOp::Div, Source::X) if self.x == 0 => return None,
            Opcode::Alu(op, Source::K) => self.a = alu(op, self.a, k).unwrap(),
            Opcode::Alu(op, Source::X) => self.a = alu(op, self.a, self.x).unwrap(),
            Opcode::Neg => self.a = self.a.wrapping_neg(),
            Opcode::Tax => self.x = self.a,
            Opcode::Txa => self.a = self.x,
            other => panic!("{other:?} is no statement"),
        }
        Some(())
    }
}

/// The nodes that a call goes through, and what it gets.
fn walk(flow: &Flow, data: &SeccompData) -> (Vec<usize>, u32) {
    let (mut registers, mut path) = (Registers::default(), vec![0]);
    loop {
        let node = &flow.nodes[*path.last().unwrap()];
        for pc in &node.statements {
            if registers.run(flow.insn(*pc).unwrap(), data).is_none() {
                return (path, seccomp::RET_KILL_THREAD);
            }
        }
        let next = match &node.end {
            End::Return(value) => return (path, *value),
            End::Value(id) => return (path, flow.exprs.value(*id, data)),
            End::Accumulator => return (path, registers.a),
            End::To(to) => *to,
            End::Test { pc, holds, fails } => {
                let (Opcode::Jump(cond, source), insn) = flow.insn(*pc).unwrap() else { panic!("no jump") };
                let operand = if source == Source::K { insn.k } else { registers.x };
                if cond.holds(registers.a, operand) { *holds } else { *fails }
            }
            End::Cases { subject, cases } => {
                let has = |case: &&Case| match (&case.when, subject) {
                    (When::In(set), Subject::Value(id)) => set.contains(flow.exprs.value(*id, data).into()),
                    (When::Has(condition), Subject::Field(_)) => condition.holds(data),
                    (when, subject) => panic!("{when:?} of {subject:?}"),
                };
                let mut holding = cases.iter().filter(has);
                let case = holding.next().unwrap_or_else(|| panic!("no case of {data:x?}"));
                assert_eq!(holding.next(), None, "two cases of {data:x?}");
                case.to
            }
        };
        path.push(next);
    }
}

/// Compares the flow with runs on these calls.
fn compare(program: &Checked, calls: impl IntoIterator<Item = SeccompData>) {
    let flow = Flow::of(program);
    let mut statement_of = vec![None; program.insns().len()];
    let mut times = vec![0; program.insns().len()];
    for (index, node) in flow.nodes.iter().enumerate() {
        assert!(!node.blocks.is_empty());
        for pc in node.blocks.iter().flat_map(|block| block.clone()) {
            times[pc] += 1;
        }
        for pc in &node.statements {
            assert!(node.blocks.iter().any(|block| block.contains(pc)));
            assert_eq!(statement_of[*pc].replace(index), None, "statement {pc} is in two nodes");
        }
        for to in node.successors() {
            assert!(to > index || matches!(flow.nodes[to].end, End::Return(_)), "{index} goes to {to}");
        }
        if let End::Cases { cases, .. } = &node.end {
            assert!(cases.len() > 1);
        }
    }
    for data in calls {
        let run = trace(program, &data);
        let (path, value) = walk(&flow, &data);
        assert_eq!(value, run.value, "{}", generate::replay(program.insns(), &data));
        // Each instruction that ran is in the node that the call was in then.
        let mut nodes = path.iter().map(|index| &flow.nodes[*index]).peekable();
        for step in &run.steps {
            let holds = |node: &&Node| node.blocks.iter().any(|block| block.contains(&step.pc));
            while nodes.peek().is_some_and(|node| !holds(node)) {
                nodes.next();
            }
            assert!(nodes.peek().is_some(), "instruction {} runs and is in no node", step.pc);
        }
    }
    assert!((0..times.len()).all(|pc| times[pc] < 2 || statement_of[pc].is_none()));
}

/// Calls near the constants of a program.
fn calls(rng: &mut SmallRng, program: &Checked, count: usize) -> Vec<SeccompData> {
    (0..count).map(|_| generate::input(rng, program.insns())).collect()
}

#[test]
fn its_nodes_decide_as_the_program() {
    let mut rng = generate::seeded();
    for _ in 0..generate::campaign(20_000, "SECCOMP_FLOW_PROGRAMS") {
        let mut program = generate::program(&mut rng, 256);
        if rng.random() {
            // Real filters return few values, from many places.
            for insn in program.iter_mut().filter(|insn| Opcode::decode(insn.code) == Some(Opcode::RetK)) {
                insn.k = if insn.k.count_ones() % 2 == 0 { seccomp::RET_ALLOW } else { seccomp::RET_TRAP };
            }
        }
        let program = check(program).unwrap();
        let calls = calls(&mut rng, &program, 24);
        compare(&program, calls);
    }
}

/// Of the filters that are shipped, every number of each architecture, and arguments that they compare.
#[test]
fn its_nodes_decide_as_real_filters() {
    let mut rng = generate::seeded();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    for name in ["deny-mkdir", "kill-socket", "docker-like-linear", "docker-like-tree"] {
        let source = fs::read_to_string(cases.join(name).with_extension("bpfasm")).unwrap();
        let number = |name: &str| Arch::X86_64.syscall_number(name).map(i32::cast_unsigned);
        let program = check(asm::assemble(&source, &number).unwrap()).unwrap();
        let mut all = calls(&mut rng, &program, 5000);
        for nr in (0..600).chain(0x4000_0000..0x4000_0300) {
            for (_, arch) in seccomp::AUDIT_ARCH_NAMES {
                all.push(SeccompData { nr, arch, ..generate::input(&mut rng, program.insns()) });
            }
        }
        compare(&program, all);
    }
}

/// What a search for a number, a chain of tests of one argument and a jump over it become.
#[test]
fn tests_of_one_thing_are_one_node() {
    let shape = |source: &str| {
        let flow = Flow::of(&check(asm::assemble(source, &|_| None).unwrap()).unwrap());
        let ends = flow.nodes.iter().map(|node| match &node.end {
            End::Cases { subject, cases } => {
                let mut words: Vec<_> = cases
                    .iter()
                    .map(|case| match &case.when {
                        When::In(set) => format!("{:?} to {}", set.ranges(), case.to),
                        When::Has(condition) => format!("{condition} to {}", case.to),
                    })
                    .collect();
                words.sort();
                let subject = match subject {
                    Subject::Value(id) => flow.exprs.text(*id),
                    Subject::Field(field) => field.to_string(),
                };
                format!("{subject}: {}", words.join("; "))
            }
            End::Test { .. } => format!("test behind {} statements", node.statements.len()),
            End::Return(value) => format!("{value:#x}"),
            other => format!("{other:?}"),
        });
        ends.collect::<Vec<_>>()
    };
    // Returns of one value are one, also where one stands before the last test.
    assert_eq!(
        shape("ld [0]\n jeq #1, a, n\n a: ret #7\n n: jge #5, b, c\n b: ret #7\n c: ret #8"),
        ["nr: [(0, 0), (2, 4)] to 2; [(1, 1), (5, 4294967295)] to 1", "0x7", "0x8"]
    );
    // Both halves of an argument, and bits of one.
    assert_eq!(
        shape("ld [20]\n jeq #1, a, n\n a: ld [16]\n jset #2, y, n\n y: ret #1\n n: ret #2").first().unwrap(),
        "arg0: arg0 & 0xffffffff00000002 == 0x100000000, or \
         arg0 in {0-0xffffffff, 0x200000000-0xffffffffffffffff} to 2; \
         arg0 & 0xffffffff00000002 == 0x100000002 to 1"
    );
    // A is one of two where they meet: it has to be computed.
    assert_eq!(
        shape(
            "ld [0]\n jeq #1, a, b\n a: ld [24]\n jmp c\n b: ld [16]\n c: jeq #5, y, n\n y: ret #1\n n: ret #2"
        ),
        [
            "nr: [(0, 0), (2, 4294967295)] to 2; [(1, 1)] to 1",
            "To(3)",
            "To(3)",
            "test behind 0 statements",
            "0x1",
            "0x2"
        ]
    );
}
