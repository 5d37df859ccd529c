//! The flow as JSON.

use seccomp_kernel::Arch;
use seccomp_rbpf::flow::{End, Flow};
use serde_json::{Value, json};

use super::words::Words;
use crate::json;

/// Blocks and edges.
pub fn of(flow: &Flow, words: &Words<'_>, arch: Arch) -> Value {
    let (mut blocks, mut edges) = (Vec::new(), Vec::new());
    for (index, node) in flow.nodes.iter().enumerate() {
        let insns: Vec<_> = node.blocks.iter().map(|block| [block.start, block.end - 1]).collect();
        let statements: Vec<_> = node.statements.iter().map(|pc| words.statement(*pc)).collect();
        let mut edge = |to: usize, condition: Option<String>| {
            edges.push(json!({"from": index, "to": to, "condition": condition}));
        };
        let end = match &node.end {
            End::Return(value) => json!({"kind": "return", "return": json::value(*value)}),
            End::Value(id) => json!({"kind": "return", "computed": flow.exprs.text(*id)}),
            End::Accumulator => json!({"kind": "return", "computed": "A"}),
            End::To(to) => {
                edge(*to, None);
                json!({"kind": "goto"})
            }
            End::Test { pc, holds, fails } => {
                let test = words.test(*pc);
                edge(*holds, Some(test.clone()));
                edge(*fails, Some(format!("not {test}")));
                json!({"kind": "test", "subject": test})
            }
            End::Cases { subject, cases } => {
                for (case, said) in cases.iter().zip(words.cases(index, *subject, cases)) {
                    edge(case.to, Some(said.case.replace('\n', ", ")));
                }
                json!({"kind": "cases", "subject": words.subject(*subject)})
            }
        };
        blocks.push(json!({"id": index, "instructions": insns, "statements": statements, "end": end}));
    }
    json!({"arch": arch.name(), "blocks": blocks, "edges": edges})
}
