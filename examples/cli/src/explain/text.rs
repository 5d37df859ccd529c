//! An explanation as text.

use std::fmt;

use crate::style::{self, Escaped};

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
        if let Some(filter) = filters.get(*winner).filter(|_| filters.len() > 1) {
            let decision = style::decision(filter.number, format!("{value} {decision}"));
            writeln!(f, "\n{decision} from {}: {reason}", filter.file)?;
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
        let Self { file, kind, value, decision, steps, rule, planned, asked, number } = self;
        let decision = style::decision(*number, format!("{value} {decision}"));
        write!(f, "{file} ({kind}): {decision}")?;
        if let Some(RuleShown { names, condition, words, .. }) = rule {
            write!(f, "\n  {words}")?;
            let names: Vec<_> = names.iter().map(|name| Escaped(name).to_string()).collect();
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
