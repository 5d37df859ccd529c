//! What nodes ask and do, in words.

use cbpf_translator::cbpf::{AluOp, Cond, Opcode, SockFilter, Source};
use cbpf_translator::seccomp::AUDIT_ARCH_NAMES;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_rbpf::flow::{Case, End, Flow, Subject, When};
use seccomp_rbpf::symbolic::{Set, Within, sign};

const MAX: u64 = u32::MAX as u64;

const X32: u64 = X32_SYSCALL_BIT as u64;

/// The most intervals without a name that are listed.
const MAX_RANGES: usize = 16;

/// The numbers that no other case names.
pub const REST: &str = "every other number";

/// A flow with what is known of the architecture in each node.
pub struct Words<'f> {
    flow: &'f Flow,
    /// Which architectures a call can have there.
    arches: Vec<Set>,
    /// Whose names numbers have where the filter has not asked.
    default: Arch,
}

/// What a case is about, in a line or many.
pub struct Said {
    /// What is asked, with what has to hold; only where that is short.
    pub whole: Option<String>,
    /// What has to hold, where the subject is said elsewhere.
    pub case: String,
    /// How many calls it names.
    names: usize,
    /// The numbers besides that have no name.
    nameless: Set,
}

impl Said {
    fn plain(words: String) -> Self {
        Self { whole: Some(words.clone()), case: words, names: 0, nameless: Set::range(1, 0) }
    }
}

impl<'f> Words<'f> {
    pub fn of(flow: &'f Flow, default: Arch) -> Self {
        let mut arches = vec![Set::range(1, 0); flow.nodes.len()];
        arches[0] = Set::range(0, MAX);
        // Nodes go to later ones only, and to those that return.
        for (index, node) in flow.nodes.iter().enumerate() {
            let here = arches[index].clone();
            let mut go = |to: usize, set: &Set| arches[to] = arches[to].or(set);
            match &node.end {
                End::Cases { subject: Subject::Value(id), cases } if flow.exprs.text(*id) == "arch" => {
                    for Case { when, to } in cases {
                        if let When::In(set) = when {
                            go(*to, &here.and(set));
                        }
                    }
                }
                _ => node.successors().into_iter().for_each(|to| go(to, &here)),
            }
        }
        Self { flow, arches, default }
    }

    /// What a node's cases are about.
    pub fn subject(&self, subject: Subject) -> String {
        match subject {
            Subject::Value(id) => self.flow.exprs.text(id),
            Subject::Field(field) => field.to_string(),
        }
    }

    /// What the calls of each case have.
    pub fn cases(&self, node: usize, subject: Subject, cases: &[Case]) -> Vec<Said> {
        let mut said: Vec<_> = cases.iter().map(|case| self.case(node, subject, &case.when)).collect();
        let all: usize = said.iter().map(|said| said.names).sum();
        // The case that most numbers without a name have is that of the rest.
        let size =
            |said: &Said| said.nameless.ranges().iter().map(|(first, last)| last - first + 1).sum::<u64>();
        let rest = said.iter().enumerate().max_by_key(|(_, said)| size(said)).map(|(index, _)| index);
        for (index, said) in said.iter_mut().enumerate().filter(|(_, said)| !said.nameless.is_empty()) {
            let words = if rest != Some(index) {
                listed(&said.nameless)
            } else if said.names > all - said.names {
                // The others say more shortly which these are.
                said.case = String::new();
                REST.into()
            } else {
                REST.into()
            };
            if !said.case.is_empty() {
                said.case.push('\n');
            }
            said.case.push_str(&words);
        }
        said
    }

    fn case(&self, node: usize, subject: Subject, when: &When) -> Said {
        let about = self.subject(subject);
        match when {
            When::Has(condition) => Said::plain(condition.to_string()),
            When::In(set) if about == "arch" => arches(set),
            When::In(set) if about == "nr" => self.numbers(node, set),
            When::In(set) => {
                let max = match subject {
                    Subject::Value(id) => self.flow.exprs.mask(id).into(),
                    Subject::Field(_) => u64::MAX,
                };
                Said::plain(format!("{about}{}", Within { set, max, counts: false }))
            }
        }
    }

    /// The audit architecture whose names numbers have in a node.
    fn arch_in(&self, node: usize) -> Option<u32> {
        let arches = &self.arches[node];
        let single = arches.single().map(|arch| arch as u32);
        single.or_else(|| {
            let default = self.default.audit_arch();
            arches.contains(default.into()).then_some(default)
        })
    }

    fn numbers(&self, node: usize, set: &Set) -> Said {
        let plain = |note: &str| Said::plain(format!("nr{}{note}", Within { set, max: MAX, counts: true }));
        match (set.ranges(), set.not(MAX).ranges()) {
            ([(X32, MAX)], _) => return plain(" (x32)"),
            (_, [(X32, MAX)]) => return plain(" (not x32)"),
            _ => {}
        }
        let Some(arch) = self.arch_in(node) else { return plain("") };
        let has_x32 = arch == Arch::X32.audit_arch();
        // All numbers of x32's, and what follows them there.
        let all_x32 =
            set.ranges().iter().find(|(first, last)| *first == X32 && *last >= 2 * X32 - 1 && has_x32);
        let mut nameless = all_x32.map_or(set.clone(), |(_, last)| set.and(&Set::range(X32, *last).not(MAX)));
        let mut names = [Vec::new(), Vec::new()];
        for entry in Arch::ALL.into_iter().filter(|entry| entry.audit_arch() == arch) {
            for (nr, name) in entry.syscalls().map(|(nr, name)| (nr.cast_unsigned().into(), name)) {
                if nameless.contains(nr) {
                    names[usize::from(entry == Arch::X32)].push(name);
                    nameless = nameless.and(&Set::of(nr).not(MAX));
                }
            }
        }
        let count = names[0].len() + names[1].len();
        if count == 0 && all_x32.is_none() {
            return Said { nameless, case: String::new(), ..plain("") };
        }
        let heads = [("calls", ""), ("calls of x32", "x32: ")];
        let mut words: Vec<_> = std::iter::zip(&names, heads)
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, (many, few))| match names.len() {
                count @ 8.. => format!("{count} {many}: {}", names.join(" ")),
                _ => format!("{few}{}", names.join(" ")),
            })
            .collect();
        match all_x32 {
            Some((_, MAX)) => words.push(format!("nr >= {X32:#x} (x32)")),
            Some((_, last)) => words.push(format!("{X32:#x}-{last:#x} (x32)")),
            None => {}
        }
        let whole = match (words.as_slice(), count, nameless.is_empty()) {
            ([name], 1, true) => Some(format!("nr == {name}")),
            _ => None,
        };
        Said { whole, case: words.join("\n"), names: count, nameless }
    }

    /// What a statement does.
    pub fn statement(&self, pc: usize) -> String {
        let Some((opcode, insn)) = self.flow.insn(pc) else { return String::new() };
        let SockFilter { k, .. } = insn;
        match opcode {
            Opcode::LdAbs(_) | Opcode::LdInd(_) => format!("A = {}", word(k)),
            Opcode::LdImm => format!("A = {k:#x}"),
            Opcode::LdxImm => format!("X = {k:#x}"),
            Opcode::LdLen => "A = 64".into(),
            Opcode::LdxLen | Opcode::LdxMsh => "X = 64".into(),
            Opcode::LdMem => format!("A = M[{k}]"),
            Opcode::LdxMem => format!("X = M[{k}]"),
            Opcode::St => format!("M[{k}] = A"),
            Opcode::Stx => format!("M[{k}] = X"),
            Opcode::Alu(AluOp::Div, Source::X) => "A /= X (X of 0: returns KILL_THREAD)".into(),
            Opcode::Alu(op, Source::X) => format!("A {}= X", sign(op)),
            Opcode::Alu(op, Source::K) => format!("A {}= {k:#x}", sign(op)),
            Opcode::Neg => "A = -A".into(),
            Opcode::Tax => "X = A".into(),
            Opcode::Txa => "A = X".into(),
            // They are no statements.
            Opcode::Ja | Opcode::Jump(..) | Opcode::RetK | Opcode::RetA => String::new(),
        }
    }

    /// What a jump asks about registers.
    pub fn test(&self, pc: usize) -> String {
        let Some((Opcode::Jump(cond, source), insn)) = self.flow.insn(pc) else { return String::new() };
        let operand = if source == Source::K { format!("{:#x}", insn.k) } else { "X".into() };
        match cond {
            Cond::Eq => format!("A == {operand}"),
            Cond::Gt => format!("A > {operand}"),
            Cond::Ge => format!("A >= {operand}"),
            Cond::Set => format!("A & {operand} != 0"),
        }
    }
}

fn word(offset: u32) -> String {
    let half = if offset.is_multiple_of(8) { "low" } else { "high" };
    match offset {
        0 => "nr".into(),
        4 => "arch".into(),
        8 | 12 => format!("ip, {half} half"),
        _ => format!("arg{}, {half} half", offset.saturating_sub(16) / 8),
    }
}

/// An audit architecture's name as the command has it.
fn arch_name(value: u64) -> Option<String> {
    let (name, _) = AUDIT_ARCH_NAMES.iter().find(|(_, arch)| u64::from(*arch) == value)?;
    Some(name.trim_start_matches("AUDIT_ARCH_").to_lowercase())
}

fn arches(set: &Set) -> Said {
    let value = |value: u64| arch_name(value).unwrap_or_else(|| format!("{value:#x}"));
    if let Some(single) = set.single() {
        return Said::plain(format!("arch == {}", value(single)));
    }
    let rest = set.not(MAX);
    if let Some(single) = rest.single() {
        return Said::plain(format!("arch != {}", value(single)));
    }
    if set.contains(0) && set.contains(MAX) {
        return Said { whole: None, ..Said::plain("every other architecture".into()) };
    }
    Said::plain(format!("arch{}", Within { set, max: MAX, counts: false }))
}

/// Numbers that have no names.
fn listed(set: &Set) -> String {
    let ranges = set.ranges();
    let shown: Vec<_> = ranges
        .iter()
        .take(MAX_RANGES)
        .map(|(first, last)| match (first, last - first) {
            (0x1000.., 0) => format!("{first:#x}"),
            (first, 0) => first.to_string(),
            _ if *last >= 0x1000 => format!("{first:#x}-{last:#x}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    let more = if ranges.len() > MAX_RANGES { " and more" } else { "" };
    shown.join(" ") + more
}
