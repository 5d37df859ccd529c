//! Policies as data, and the filters that compilers make of them.
//!
//! A [`Policy`] says by name which calls get which action. [`Policy::linear`] compiles it as libseccomp does by
//! default, one comparison for each call in the order of the policy; [`Policy::tree`] as it does when asked to
//! optimise, a balanced search down to a few comparisons. 64-bit arguments are compared in halves.

use anyhow::{Context, bail};
use cbpf_translator::cbpf::{AluOp, Cond, Opcode, Source, Width};
use cbpf_translator::seccomp::{RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS};
use cbpf_translator::{Checked, SockFilter, check};
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_runtime::SeccompData;

/// Calls by number with their actions, and one for all others.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whose calls these are; others kill the process, and so does x32.
    pub arch: Arch,
    /// The return value for calls without a rule.
    pub default: u32,
    /// In the order in which the linear filter compares. No number is there twice.
    pub rules: Vec<Rule>,
}

/// What one call gets.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The call's number.
    pub nr: u32,
    /// Its return value.
    pub value: u32,
    /// Alternatives, of each of which all conditions have to hold; without any the value is unconditional.
    /// Where none holds the policy's default is the value.
    pub when: Vec<Vec<Condition>>,
}

/// What an argument must be: under `mask` equal to `value`, or not.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// The argument's index.
    pub arg: u32,
    /// Which bits count; all of them may not be 0.
    pub mask: u64,
    /// What they are compared with.
    pub value: u64,
    /// Whether they have to be equal, or different.
    pub equal: bool,
}

impl Policy {
    /// Reads a policy such as `tests/cases/docker-like.policy`, which says how they look.
    ///
    /// # Errors
    ///
    /// A line is not understood.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut policy = Self { arch: Arch::X86_64, default: RET_KILL_PROCESS, rules: Vec::new() };
        for (line, number) in text.lines().zip(1..) {
            let line = line.split(';').next().unwrap_or_default();
            policy.line(line).with_context(|| format!("line {number}"))?;
        }
        Ok(policy)
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let (calls, when) = match line.split_once(" when ") {
            Some((calls, when)) => (calls, Some(when)),
            None => (line, None),
        };
        let mut words = calls.split_whitespace();
        let Some(first) = words.next() else { return Ok(()) };
        match first {
            "arch" => {
                let name = words.next().context("an architecture is missing")?;
                let arch = Arch::ALL.into_iter().find(|arch| arch.name() == name);
                self.arch = arch.with_context(|| format!("no architecture {name:?}"))?;
            }
            "default" => {
                let action = words.next().context("an action is missing")?;
                self.default = action_value(action, &mut words)?;
            }
            action => {
                let value = action_value(action, &mut words)?;
                let when = when.map(conditions).transpose()?;
                for name in words.by_ref() {
                    let nr = self.arch.syscall_number(name).with_context(|| format!("no call {name:?}"))?;
                    self.add(nr.cast_unsigned(), value, when.as_deref())?;
                }
            }
        }
        match words.next() {
            Some(word) => bail!("{word:?} is too much"),
            None => Ok(()),
        }
    }

    fn add(&mut self, nr: u32, value: u32, when: Option<&[Condition]>) -> anyhow::Result<()> {
        let when: Vec<_> = when.map(<[_]>::to_vec).into_iter().collect();
        match self.rules.iter_mut().find(|rule| rule.nr == nr) {
            None => self.rules.push(Rule { nr, value, when }),
            Some(rule) if rule.value == value && !rule.when.is_empty() && !when.is_empty() => {
                rule.when.extend(when);
            }
            Some(_) => bail!("call {nr} has a rule already"),
        }
        Ok(())
    }

    /// What the policy says about a call. The filters are tested against it.
    pub fn decide(&self, call: &SeccompData) -> u32 {
        let nr = call.nr.cast_unsigned();
        if call.arch != self.arch.audit_arch() || nr >= X32_SYSCALL_BIT.cast_unsigned() {
            return RET_KILL_PROCESS;
        }
        let holds = |condition: &Condition| {
            (call.args[condition.arg as usize] & condition.mask == condition.value) == condition.equal
        };
        let rule = self.rules.iter().find(|rule| rule.nr == nr);
        let rule = rule.filter(|rule| {
            rule.when.is_empty() || rule.when.iter().any(|conditions| conditions.iter().all(holds))
        });
        rule.map_or(self.default, |rule| rule.value)
    }

    /// The filter that compares with one number after the other.
    ///
    /// # Errors
    ///
    /// It is longer than a filter can be.
    pub fn linear(&self) -> anyhow::Result<Checked> {
        let mut writer = Writer::default();
        let next = self.chain(&mut writer, self.rules.iter());
        self.finish(writer, next)
    }

    /// The filter that halves the numbers until few are left.
    ///
    /// # Errors
    ///
    /// It is longer than a filter can be.
    pub fn tree(&self) -> anyhow::Result<Checked> {
        let mut writer = Writer::default();
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by_key(|rule| rule.nr);
        let root = self.search(&mut writer, &rules);
        self.finish(writer, root)
    }

    fn search(&self, writer: &mut Writer, rules: &[&Rule]) -> Place {
        /// As many comparisons as libseccomp has in a leaf.
        const LEAF: usize = 4;
        if rules.len() <= LEAF {
            return self.chain(writer, rules.iter().copied());
        }
        let (low, high) = rules.split_at(rules.len() / 2);
        let low = self.search(writer, low);
        let middle = high[0].nr;
        let high = self.search(writer, high);
        writer.jump(Cond::Ge, middle, high, low)
    }

    /// Rules one after the other, and the default behind them.
    fn chain<'r>(&self, writer: &mut Writer, rules: impl DoubleEndedIterator<Item = &'r Rule>) -> Place {
        let default = writer.ret(self.default);
        rules.rev().fold(default, |next, rule| {
            let body = match rule.when.as_slice() {
                [] => writer.ret(rule.value),
                when => {
                    let default = writer.ret(self.default);
                    when.iter().rev().fold(default, |fails, conditions| {
                        let holds = writer.ret(rule.value);
                        conditions
                            .iter()
                            .rev()
                            .fold(holds, |holds, condition| writer.condition(condition, holds, fails))
                    })
                }
            };
            writer.jump(Cond::Eq, rule.nr, body, next)
        })
    }

    /// What every filter begins with: the architecture, and no x32 numbers.
    fn finish(&self, mut writer: Writer, next: Place) -> anyhow::Result<Checked> {
        let kill = writer.ret(RET_KILL_PROCESS);
        writer.jump(Cond::Ge, X32_SYSCALL_BIT.cast_unsigned(), kill, next);
        writer.load(0);
        let rest = writer.here();
        let kill = writer.ret(RET_KILL_PROCESS);
        writer.jump(Cond::Eq, self.arch.audit_arch(), rest, kill);
        writer.load(4);
        writer.reversed.reverse();
        Ok(check(writer.reversed)?)
    }
}

fn action_value<'w>(action: &str, words: &mut impl Iterator<Item = &'w str>) -> anyhow::Result<u32> {
    Ok(match action {
        "allow" => RET_ALLOW,
        "errno" => RET_ERRNO | words.next().context("an errno is missing")?.parse::<u16>().map(u32::from)?,
        _ => bail!("{action:?} is no action"),
    })
}

/// `CONDITION and CONDITION...`, all of which have to hold.
fn conditions(text: &str) -> anyhow::Result<Vec<Condition>> {
    text.split(" and ").map(|text| condition(text).with_context(|| format!("{text:?}"))).collect()
}

/// `argN == V`, `argN != V` or `argN & MASK == V`.
fn condition(text: &str) -> anyhow::Result<Condition> {
    let words: Vec<_> = text.split_whitespace().collect();
    let (arg, mask, operator, value) = match words.as_slice() {
        [arg, "&", mask, operator, value] => (arg, number(mask)?, operator, value),
        [arg, operator, value] => (arg, u64::MAX, operator, value),
        _ => bail!("not a condition"),
    };
    let arg = arg.strip_prefix("arg").context("not an argument")?.parse().ok().filter(|arg| *arg < 6);
    let equal = match *operator {
        "==" => true,
        "!=" => false,
        _ => bail!("neither == nor !="),
    };
    Ok(Condition { arg: arg.context("a call has six arguments")?, mask, value: number(value)?, equal })
}

fn number(text: &str) -> anyhow::Result<u64> {
    Ok(match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16)?,
        None => text.parse()?,
    })
}

/// Writes a program from its end to its front, so that what is jumped to is there already.
#[derive(Default)]
struct Writer {
    reversed: Vec<SockFilter>,
    /// The last place of each return value.
    returns: Vec<(u32, Place)>,
}

/// A place in the program: the instructions from there to the end.
type Place = usize;

impl Writer {
    fn here(&self) -> Place {
        self.reversed.len()
    }

    fn push(&mut self, opcode: Opcode, jt: u8, jf: u8, k: u32) -> Place {
        let code = opcode.row().expect("every opcode has its row").code;
        self.reversed.push(SockFilter::new(code, jt, jf, k));
        self.here()
    }

    /// A place that returns `value`: the last one, or a new one if that is getting far.
    fn ret(&mut self, value: u32) -> Place {
        const FAR: usize = 200;
        let last = self.returns.iter().rev().find(|(other, _)| *other == value);
        match last {
            Some((_, place)) if self.here() - place < FAR => *place,
            _ => {
                let place = self.push(Opcode::RetK, 0, 0, value);
                self.returns.push((value, place));
                place
            }
        }
    }

    fn load(&mut self, offset: u32) -> Place {
        self.push(Opcode::LdAbs(Width::Word), 0, 0, offset)
    }

    fn jump(&mut self, cond: Cond, k: u32, holds: Place, fails: Place) -> Place {
        let (fails, holds) = (self.near(fails), self.near(holds));
        let distance = |place| u8::try_from(self.here() - place).expect("made near");
        let (jt, jf) = (distance(holds), distance(fails));
        self.push(Opcode::Jump(cond, Source::K), jt, jf, k)
    }

    /// A place that leads to `place` and that a conditional jump reaches, also from one instruction further.
    fn near(&mut self, place: Place) -> Place {
        let distance = self.here() - place;
        if distance < usize::from(u8::MAX) { place } else { self.push(Opcode::Ja, 0, 0, distance as u32) }
    }

    fn condition(&mut self, condition: &Condition, holds: Place, fails: Place) -> Place {
        let Condition { arg, mask, value, equal } = *condition;
        let (same, different) = if equal { (holds, fails) } else { (fails, holds) };
        let low = self.half(16 + 8 * arg, (mask as u32, value as u32), same, different);
        self.half(16 + 8 * arg + 4, ((mask >> 32) as u32, (value >> 32) as u32), low, different)
    }

    /// Compares half of an argument.
    fn half(&mut self, offset: u32, (mask, value): (u32, u32), same: Place, different: Place) -> Place {
        self.jump(Cond::Eq, value, same, different);
        if mask != u32::MAX {
            self.push(Opcode::Alu(AluOp::And, Source::K), 0, 0, mask);
        }
        self.load(offset)
    }
}
