//! An explanation as text.

use std::fmt;

use super::{CallShown, Explained, Explanation, RuleShown};

/// As many names of a rule are shown.
const MAX_NAMES: usize = 8;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, filters, winner, reason, value, decision } = self;
        writeln!(f, "{call}")?;
        for filter in filters {
            writeln!(f, "\n{filter}")?;
        }
        let from = filters.get(*winner).map_or("", |filter| filter.file.as_str());
        if filters.len() > 1 {
            writeln!(f, "\n{value} {decision} from {from}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CallShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arch, nr, name, instruction_pointer, args, unknown } = self;
        let name = name.unwrap_or("no known call");
        write!(f, "{arch} {nr} ({name}), ip {instruction_pointer}, arguments {}", args.join(", "))?;
        for index in unknown {
            write!(f, "\nargument {index} is an address that is not known, 0 is taken for it")?;
        }
        Ok(())
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, kind, value, decision, steps, rule, planned, asked, .. } = self;
        write!(f, "{file} ({kind}): {value} {decision}")?;
        if let Some(RuleShown { names, condition, words, .. }) = rule {
            write!(f, "\n  {words}")?;
            if let Some((shown, more @ [_, ..])) = names.split_at_checked(MAX_NAMES) {
                write!(f, ": {} and {} more", shown.join(" "), more.len())?;
            } else if !names.is_empty() {
                write!(f, ": {}", names.join(" "))?;
            }
            if !condition.is_empty() {
                write!(f, ", if {condition}")?;
            }
        }
        for step in steps.iter().flatten() {
            write!(f, "\n{:>6}  {:<44} {}", format!("L{}", step.pc), step.classic, step.effect)?;
            for insn in &step.ebpf {
                write!(f, "\n        {:>6}: {}", insn.pc, insn.text)?;
            }
        }
        if *planned == Some(true) {
            f.write_str(
                "\n  the plan has this value for all calls of the number, and the filter does not run",
            )?;
        }
        if let Some(asked) = asked {
            let words = if asked.is_empty() { "nothing".into() } else { asked.join(", ") };
            write!(f, "\n  asked of the system: {words}")?;
        }
        Ok(())
    }
}
