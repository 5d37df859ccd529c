//! What is drawn: boxes with text, and arrows.

use seccomp_kernel::Action;
use seccomp_rbpf::flow::{End, Flow};

use super::words::{REST, Words};
use crate::return_value::Words as Decision;

/// Longer lines are broken.
const WIDTH: usize = 64;

/// Of many lines, lines are longer.
const WIDE: usize = 96;

/// As many characters are many lines.
const MANY: usize = 1200;

/// Boxes and the arrows between them.
pub struct Chart {
    pub title: String,
    /// What there is to say of the whole.
    pub about: String,
    pub boxes: Vec<Box>,
    pub arrows: Vec<Arrow>,
}

/// A box: text, and below it a decision if that is where the program ends.
#[derive(Debug)]
pub struct Box {
    pub kind: Kind,
    pub lines: Vec<String>,
    pub decision: Option<(Tone, String)>,
    /// The instructions that it stands for.
    pub insns: String,
    /// The number of its node.
    pub node: usize,
    /// Whether a [link](Kind::Link) names it.
    pub is_linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something is asked or computed.
    Step,
    /// Which calls go on from here.
    Case,
    /// The program ends.
    End,
    /// Where an arrow would be too long: it goes on at the node of this number.
    Link,
}

/// What kind of decision it is; each has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Kill,
    Trap,
    Errno,
    Ask,
    Log,
    Allow,
    /// It depends on the call.
    Computed,
}

impl Tone {
    pub const ALL: [Self; 7] =
        [Self::Kill, Self::Trap, Self::Errno, Self::Ask, Self::Log, Self::Allow, Self::Computed];

    fn of(value: u32) -> Self {
        match Action::of(value) {
            Action::KillProcess | Action::KillThread | Action::Unknown(_) => Self::Kill,
            Action::Trap => Self::Trap,
            Action::Errno => Self::Errno,
            Action::UserNotif | Action::Trace => Self::Ask,
            Action::Log => Self::Log,
            Action::Allow => Self::Allow,
        }
    }

    /// It with words for a return value.
    pub fn decision(value: u32) -> (Self, String) {
        (Self::of(value), Decision(value).to_string())
    }

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Trap => "trap",
            Self::Errno => "errno",
            Self::Ask => "ask",
            Self::Log => "log",
            Self::Allow => "allow",
            Self::Computed => "computed",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// Boxes by their indices.
    pub from: usize,
    pub to: usize,
    pub kind: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Always,
    True,
    False,
}

impl Chart {
    pub fn of(flow: &Flow, words: &Words<'_>, title: String, insns: usize) -> Self {
        let steps = flow.nodes.iter().filter(|node| !matches!(node.end, End::Return(_))).count();
        let about = format!("The control flow of a seccomp filter of {insns} instructions, {steps} steps.");
        let mut maker = Maker {
            chart: Self { title, about, boxes: Vec::new(), arrows: Vec::new() },
            flow,
            words,
            box_of: vec![None; flow.nodes.len()],
        };
        let mut open = vec![Open::Node(0)];
        while let Some(next) = open.pop() {
            let more = match next {
                Open::Node(node) => maker.node(node),
                Open::Arrow { from, kind, to } => maker.arrow(from, kind, to),
            };
            // In the order in which they are said, with all that is behind each.
            open.extend(more.into_iter().rev());
        }
        maker.chart
    }
}

impl Chart {
    /// Adds a box that says that it goes on at another.
    pub fn link(&mut self, to: usize) -> usize {
        let node = self.boxes[to].node;
        let lines = vec![format!("to step {node}")];
        self.boxes[to].is_linked = true;
        let insns = String::new();
        self.boxes.push(Box { kind: Kind::Link, lines, decision: None, insns, node, is_linked: false });
        self.boxes.len() - 1
    }
}

struct Maker<'f> {
    chart: Chart,
    flow: &'f Flow,
    words: &'f Words<'f>,
    /// The box of each node that does not only return.
    box_of: Vec<Option<usize>>,
}

/// What is still to be drawn.
enum Open {
    Node(usize),
    Arrow { from: usize, kind: Way, to: usize },
}

impl Maker<'_> {
    fn add(&mut self, kind: Kind, node: usize, lines: Vec<String>) -> usize {
        let blocks = self.flow.nodes[node].blocks.iter();
        let insns: Vec<_> = blocks
            .map(|block| match block.len() {
                1 => block.start.to_string(),
                _ => format!("{}-{}", block.start, block.end - 1),
            })
            .collect();
        let insns = insns.join(", ");
        self.chart.boxes.push(Box { kind, lines, decision: None, insns, node, is_linked: false });
        self.chart.boxes.len() - 1
    }

    /// The decision of a node that only returns a number.
    fn decision(&self, node: usize) -> Option<(Tone, String)> {
        let node = &self.flow.nodes[node];
        match node.end {
            End::Return(value) if node.statements.is_empty() => Some(Tone::decision(value)),
            _ => None,
        }
    }

    fn arrow(&mut self, from: usize, kind: Way, node: usize) -> Vec<Open> {
        let (to, more) = match (self.decision(node), self.box_of[node]) {
            // Where the program ends is beside whoever goes there, so that no arrow is long.
            (Some(decision), _) => {
                let end = self.add(Kind::End, node, Vec::new());
                self.chart.boxes[end].decision = Some(decision);
                (end, Vec::new())
            }
            (None, Some(to)) => (to, Vec::new()),
            (None, None) => (self.chart.boxes.len(), self.node(node)),
        };
        self.chart.arrows.push(Arrow { from, to, kind });
        more
    }

    /// Draws a node, the first of its box being the next, and says what follows.
    fn node(&mut self, node: usize) -> Vec<Open> {
        let flow = self.flow;
        let mut lines: Vec<_> =
            flow.nodes[node].statements.iter().map(|pc| self.words.statement(*pc)).collect();
        let mut decision = self.decision(node);
        let mut cards = Vec::new();
        let mut ways = Vec::new();
        match &flow.nodes[node].end {
            End::Return(value) => decision = Some(Tone::decision(*value)),
            End::Value(id) => {
                decision = Some((Tone::Computed, format!("returns {}", flow.exprs.text(*id))));
            }
            End::Accumulator => decision = Some((Tone::Computed, "returns A".into())),
            End::To(to) => ways.push((Way::Always, *to)),
            End::Test { pc, holds, fails } => {
                lines.push(self.words.test(*pc));
                ways.extend([(Way::True, *holds), (Way::False, *fails)]);
            }
            End::Cases { subject, cases } => {
                let said = self.words.cases(node, *subject, cases);
                let short = said.iter().enumerate().filter_map(|(index, said)| {
                    let whole = said.whole.as_deref().filter(|whole| whole.len() <= WIDTH)?;
                    Some((index, whole))
                });
                match short.min_by_key(|(_, whole)| (whole.contains("!="), whole.len())) {
                    Some((index, whole)) if cases.len() == 2 => {
                        lines.push(whole.into());
                        ways.extend([(Way::True, cases[index].to), (Way::False, cases[1 - index].to)]);
                    }
                    _ => {
                        lines.push(self.words.subject(*subject));
                        cards = said.into_iter().map(|said| said.case).zip(cases).collect();
                        // Few words first.
                        cards.sort_by_key(|(words, _)| (words.ends_with(REST), words.len()));
                    }
                }
            }
        }
        let kind = if lines.is_empty() && decision.is_some() { Kind::End } else { Kind::Step };
        let lines = lines.iter().flat_map(|line| wrapped(line)).collect();
        let own = self.add(kind, node, lines);
        self.chart.boxes[own].decision = decision;
        self.box_of[node] = Some(own);
        let mut open: Vec<_> =
            ways.into_iter().map(|(kind, to)| Open::Arrow { from: own, kind, to }).collect();
        for (words, case) in cards {
            let decision = self.decision(case.to);
            // Its instructions are those of where it goes, if it ends there.
            let of = if decision.is_some() { case.to } else { node };
            let card = self.add(Kind::Case, of, wrapped(&words));
            self.chart.arrows.push(Arrow { from: own, to: card, kind: Way::Always });
            if decision.is_none() {
                self.chart.boxes[card].insns.clear();
                open.push(Open::Arrow { from: card, kind: Way::Always, to: case.to });
            }
            self.chart.boxes[card].decision = decision;
        }
        open
    }
}

/// Text in lines that are not too long.
fn wrapped(text: &str) -> Vec<String> {
    let width = if text.len() > MANY { WIDE } else { WIDTH };
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("a b"), ["a b"]);
        let long = ["name"; 40].join(" ");
        let lines = wrapped(&long);
        assert!(lines.len() == 4 && lines.iter().all(|line| line.len() <= WIDTH), "{lines:?}");
        assert_eq!(lines.join(" "), long);
        assert_eq!(wrapped("a\nb c"), ["a", "b c"]);
        // What has no place for a break stays whole.
        assert_eq!(wrapped(&"x".repeat(100)), ["x".repeat(100)]);
    }
}
