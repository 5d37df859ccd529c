//! `/proc/PID/seccomp_cache`: which calls Linux would let through without running a filter.
//!
//! Linux has the file only with CONFIG_SECCOMP_CACHE_DEBUG, which distributions leave off, and so does the
//! machine that this was tested on: the text follows Linux's source, and no running Linux has confirmed it.
//!
//! This is what Linux's cache knows, not what this crate knows before a call: a plan knows more constants than
//! ALLOW and reads every instruction.

use core::fmt;

use cbpf_translator::SockFilter;
use cbpf_translator::cbpf::{AluOp, Opcode, Source, Width};
use cbpf_translator::seccomp::RET_ALLOW;

use crate::arch::Arch;
use crate::filter::Filter;
use crate::introspect::IntrospectError;
use crate::state::ThreadState;

/// The system calls that each entry of Linux 6.18 has, counted to the last number.
pub const NR_SYSCALLS: i32 = 470;

/// The file. Its `Display` is its text: a line for each number of each entry, none if the thread has no filter.
#[derive(Clone, Copy, Debug)]
pub struct SeccompCache<'t> {
    entries: &'t [Arch],
    newest: Option<&'t Filter>,
}

impl<'t> SeccompCache<'t> {
    /// The file of the thread that has `target`, on a machine with these entries, the native one first
    /// ([`Kernel::planned_entries`](crate::Kernel::planned_entries)). `sys_admin` is whether the file was opened
    /// with CAP_SYS_ADMIN in the initial user namespace.
    ///
    /// # Errors
    ///
    /// [`IntrospectError::Denied`]: it was not.
    pub fn new(
        entries: &'t [Arch],
        sys_admin: bool,
        target: &'t ThreadState,
    ) -> Result<Self, IntrospectError> {
        if !sys_admin {
            return Err(IntrospectError::Denied);
        }
        Ok(Self { entries, newest: target.filter() })
    }
}

impl fmt::Display for SeccompCache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(newest) = self.newest else { return Ok(()) };
        for entry in self.entries {
            for nr in 0..NR_SYSCALLS {
                let allowed = entry.uprobe_calls().contains(&nr)
                    || newest.newest_first().all(|filter| {
                        let program = filter.program().classic();
                        program.is_some_and(|program| always_allows(program.insns(), *entry, nr))
                    });
                let status = if allowed { "ALLOW" } else { "FILTER" };
                writeln!(f, "{} {nr} {status}", name(*entry))?;
            }
        }
        Ok(())
    }
}

/// `SECCOMP_ARCH_NATIVE_NAME` and `SECCOMP_ARCH_COMPAT_NAME`.
const fn name(entry: Arch) -> &'static str {
    match entry {
        Arch::I386 => "ia32",
        entry => entry.name(),
    }
}

/// Whether Linux finds that the program always allows the call (`seccomp_is_const_allow`). It knows few
/// instructions; what it does not know may do anything.
fn always_allows(program: &[SockFilter], entry: Arch, nr: i32) -> bool {
    const NR: u32 = 0;
    const ARCH: u32 = 4;
    let mut a = 0;
    let mut rest = program;
    while let Some((insn, behind)) = rest.split_first() {
        let SockFilter { jt, jf, k, .. } = *insn;
        let mut skip = 0;
        match (Opcode::decode(insn.code), k) {
            (Some(Opcode::LdAbs(Width::Word)), NR) => a = nr.cast_unsigned(),
            (Some(Opcode::LdAbs(Width::Word)), ARCH) => a = entry.audit_arch(),
            (Some(Opcode::Alu(AluOp::And, Source::K)), _) => a &= k,
            (Some(Opcode::Ja), _) => skip = k as usize,
            (Some(Opcode::Jump(cond, Source::K)), _) => {
                skip = usize::from(if cond.holds(a, k) { jt } else { jf })
            }
            (Some(Opcode::RetK), _) => return k == RET_ALLOW,
            _ => return false,
        }
        rest = behind.get(skip..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_linux_knows() {
        const LD: u16 = 0x20;
        const JEQ: u16 = 0x15;
        const RET: u16 = 0x06;
        let allow = SockFilter::new(RET, 0, 0, RET_ALLOW);
        let kill = SockFilter::new(RET, 0, 0, 0);
        let insn = |code, k| SockFilter::new(code, 0, 0, k);
        let rows: [(&str, &[SockFilter], bool); 14] = [
            ("ret", &[allow], true),
            ("a return value with data", &[insn(RET, RET_ALLOW | 1)], false),
            ("another action", &[kill], false),
            ("number", &[insn(LD, 0), SockFilter::new(JEQ, 0, 1, 39), allow, kill], true),
            ("arch", &[insn(LD, 4), SockFilter::new(JEQ, 0, 1, 0xc000_003e), allow, kill], true),
            ("jgt", &[insn(LD, 0), SockFilter::new(0x25, 0, 1, 38), allow, kill], true),
            ("jge", &[insn(LD, 0), SockFilter::new(0x35, 1, 0, 40), allow, kill], true),
            ("and, jset", &[insn(LD, 0), insn(0x54, 6), SockFilter::new(0x45, 1, 0, 1), allow, kill], true),
            ("ja", &[insn(0x05, 1), kill, allow], true),
            ("an argument", &[insn(LD, 16), allow], false),
            ("the instruction pointer", &[insn(LD, 8), allow], false),
            ("ret a", &[insn(LD, 0), insn(0x16, 0)], false),
            ("ld #k", &[insn(0x00, 0), allow], false),
            ("jeq x", &[SockFilter::new(0x1d, 0, 0, 0), allow], false),
        ];
        for (name, program, expected) in rows {
            assert_eq!(always_allows(program, Arch::X86_64, 39), expected, "{name}");
        }
    }
}
