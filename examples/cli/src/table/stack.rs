//! Filters that count together, and what they decide.

use cbpf_translator::Checked;
use seccomp_kernel::{Arch, Program, X32_SYSCALL_BIT};
use seccomp_rbpf::symbolic::{Calls, Decision, Member, Set, Work, agree, stacked};
use seccomp_runtime::{EngineKind, Planned};

use crate::engine::Engine;
use crate::filter::Filter;

/// As much work as one question may cost.
const WORK: usize = 1 << 22;

const NR_MAX: u64 = u32::MAX as u64;

/// Filters of a thread, the oldest first.
pub struct Stack(Vec<Kept>);

enum Kept {
    Classic(Checked),
    /// With a plan, which has the values that no argument changes.
    Extension(Box<Program>),
}

/// The other calls of an entry: x32's are not x86-64's.
fn unnamed(arch: Arch) -> Calls {
    let bit = X32_SYSCALL_BIT.cast_unsigned().into();
    let x32 = Set::range(bit, i32::MAX.cast_unsigned().into());
    let all = match arch {
        Arch::X32 => x32,
        Arch::X86_64 => x32.not(NR_MAX),
        _ => Set::range(0, NR_MAX),
    };
    let numbers = arch.syscalls().fold(all, |rest, (nr, _)| rest.and(&number(nr).not(NR_MAX)));
    Calls { arches: Set::of(arch.audit_arch().into()), numbers }
}

fn number(nr: i32) -> Set {
    Set::of(nr.cast_unsigned().into())
}

impl Stack {
    /// Filters that are asked about these entries.
    pub fn new(filters: Vec<Filter>, arches: &[Arch]) -> anyhow::Result<Self> {
        let mut planned: Vec<_> = arches.iter().map(|arch| arch.audit_arch()).collect();
        planned.sort_unstable();
        planned.dedup();
        // A plan is the same for every engine.
        let whole = Engine { kind: EngineKind::Native, plan: false };
        let kept = filters.into_iter().map(|filter| match filter {
            Filter::Classic(program) => Ok(Kept::Classic(program)),
            Filter::Extension(filter) => {
                let filter = filter.load(whole)?.filter.planned(planned.iter().copied())?;
                Ok(Kept::Extension(Box::new(Program::Extension(filter))))
            }
        });
        Ok(Self(kept.collect::<anyhow::Result<_>>()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What calls of a number get.
    pub fn decision(&self, arch: Arch, nr: i32, work: &mut Work) -> Decision {
        let calls = Calls::of(arch.audit_arch(), nr);
        decide(self.at(arch, nr), &calls, work)
    }

    /// What the other numbers of an entry get.
    pub fn others(&self, arch: Arch, work: &mut Work) -> Decision {
        decide(self.classic(), &unnamed(arch), work)
    }

    /// What calls of architectures get that are no entry here.
    pub fn elsewhere(&self, work: &mut Work) -> Decision {
        decide(self.classic(), &elsewhere(), work)
    }

    /// Whether this decides on calls of a number as another does, if it can be found out.
    pub fn agrees(&self, other: &Self, arch: Arch, nr: i32, work: &mut Work) -> Option<bool> {
        let calls = Calls::of(arch.audit_arch(), nr);
        compare([self.at(arch, nr), other.at(arch, nr)], &calls, work)
    }

    /// [`Self::agrees`] for the other numbers of an entry.
    pub fn agrees_on_others(&self, other: &Self, arch: Arch, work: &mut Work) -> Option<bool> {
        compare([self.classic(), other.classic()], &unnamed(arch), work)
    }

    /// [`Self::agrees`] for architectures that are no entry here.
    pub fn agrees_elsewhere(&self, other: &Self, work: &mut Work) -> Option<bool> {
        compare([self.classic(), other.classic()], &elsewhere(), work)
    }

    /// The filters for a number; `None` where one of them depends on more than is followed.
    fn at(&self, arch: Arch, nr: i32) -> Option<Vec<Member<'_>>> {
        let members = self.0.iter().map(|filter| match filter {
            Kept::Classic(program) => Some(Member::Program(program)),
            Kept::Extension(program) => match program.plan_of(arch.audit_arch(), nr) {
                Planned::Constant(value) => Some(Member::Value(value)),
                Planned::Residual | Planned::Whole => None,
            },
        });
        members.collect()
    }

    /// The filters for many numbers.
    fn classic(&self) -> Option<Vec<Member<'_>>> {
        let members = self.0.iter().map(|filter| match filter {
            Kept::Classic(program) => Some(Member::Program(program)),
            Kept::Extension(_) => None,
        });
        members.collect()
    }
}

fn elsewhere() -> Calls {
    let entries = Arch::ALL
        .into_iter()
        .fold(Set::range(1, 0), |entries, arch| entries.or(&Set::of(arch.audit_arch().into())));
    Calls { arches: entries.not(NR_MAX), numbers: Set::range(0, NR_MAX) }
}

fn decide(members: Option<Vec<Member<'_>>>, calls: &Calls, work: &mut Work) -> Decision {
    let Some(members) = members else { return Decision::Depends };
    metered(work, |work| stacked(&members, calls, work))
}

fn compare(stacks: [Option<Vec<Member<'_>>>; 2], calls: &Calls, work: &mut Work) -> Option<bool> {
    let [Some(a), Some(b)] = stacks else { return None };
    metered(work, |work| agree(&a, &b, calls, work))
}

/// Answers one question out of the work for all.
fn metered<T>(work: &mut Work, answer: impl FnOnce(&mut Work) -> T) -> T {
    let before = WORK.min(work.left());
    let mut one = Work::new(before);
    let answer = answer(&mut one);
    work.spend(before - one.left());
    answer
}
