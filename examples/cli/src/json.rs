//! What several commands print as JSON; docs/json.md has the shapes.

use std::path::Path;

use cbpf_translator::disasm::EbpfInsn;
use cbpf_translator::{CheckError, Insn, SockFilter};
use seccomp_runtime::verifier::VerifyError;
use serde::Serialize;
use serde_json::{Value, json};

use crate::return_value::Words;
use crate::{disasm, output, report};

/// Prints a value.
pub fn print(value: &impl Serialize) -> anyhow::Result<()> {
    print_to(None, value)
}

/// Writes a value to a file, or prints it where none is named.
pub fn print_to(path: Option<&Path>, value: &impl Serialize) -> anyhow::Result<()> {
    output::text_to(path, text(value)?)
}

/// A value as it is printed.
pub fn text(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// What filters returned, with its words.
pub fn value(value: u32) -> Value {
    json!({"value": format!("{value:#010x}"), "decision": Words(value).to_string()})
}

/// A failure: what is said on standard error, and of a program that is refused where and why.
pub fn failure(error: &anyhow::Error) -> Value {
    let (pc, reason) = if let Some(error) = error.downcast_ref::<CheckError>() {
        match error {
            CheckError::Insn { pc, why } => (Some(*pc), why.to_string()),
            error => (None, error.to_string()),
        }
    } else if let Some(error) = error.downcast_ref::<VerifyError>() {
        match error {
            VerifyError::Insn { pc, why } => (Some(*pc), why.to_string()),
            error => (None, error.to_string()),
        }
    } else {
        (None, error.root_cause().to_string())
    };
    json!({
        "message": format!("{error:#}"),
        "refused": report::is_refused(error),
        "pc": pc,
        "reason": reason,
    })
}

/// Instructions of a classic program.
pub fn classic(insns: &[SockFilter]) -> Vec<Value> {
    let lines = disasm::lines(insns).into_iter().zip(insns).enumerate();
    let insns = lines.map(|(pc, (text, insn))| {
        json!({"pc": pc, "code": insn.code, "jt": insn.jt, "jf": insn.jf, "k": insn.k, "text": text})
    });
    insns.collect()
}

/// Instructions of an eBPF program.
pub fn ebpf(insns: &[Insn]) -> Vec<Value> {
    let shown = insns.iter().enumerate().map(|(pc, insn)| {
        let bytes = format!("{:016x}", u64::from_be_bytes(insn.to_le_bytes()));
        json!({"pc": pc, "bytes": bytes, "text": EbpfInsn { program: insns, pc }.to_string()})
    });
    shown.collect()
}
