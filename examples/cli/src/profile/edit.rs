//! Additions to a profile that leave the rest of its text as it is: comments, conditions, and how it is laid out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use seccomp_kernel::Arch;
use serde_json::value::RawValue;

use super::format::Keys;
use super::names::ArchName;

/// Where a profile does not show how its lists are laid out, an element is this far in.
const INDENT: &str = "  ";

const ALLOW: &str = "\"SCMP_ACT_ALLOW\"";

/// The text of the profile: all of it, or `linux.seccomp` of a bundle's `config.json`.
///
/// # Errors
///
/// It is such a file, and has no profile.
pub fn section(json: &str) -> anyhow::Result<&str> {
    if !Keys::of(json.as_bytes()).is_some_and(|keys| keys.is_bundle()) {
        return Ok(json);
    }
    let linux = fields(json)?.get("linux").copied().context("no linux")?;
    fields(linux)?.get("seccomp").copied().context("no linux.seccomp")
}

/// The text with another [profile](section) in it.
///
/// # Errors
///
/// As [`section`].
pub fn with_section(json: &str, profile: &str) -> anyhow::Result<String> {
    Ok(replaced(json, section(json)?, profile))
}

/// Adds `arch` to the architectures of a profile for machines of the architecture `native`.
///
/// # Errors
///
/// The text is no profile.
pub fn add_arch(json: &str, native: Arch, arch: Arch) -> anyhow::Result<String> {
    let name = |arch| quoted(ArchName::of(arch));
    let fields = fields(json)?;
    if let Some(map) = fields.get("archMap").filter(|map| !is_empty(map)) {
        let mut list = List::parse(map)?;
        for element in &mut list.elements {
            let machine = self::fields(element)?.get("architecture").copied().context("archMap")?;
            if matches!(ArchName::parse(&string(machine)?), Some(ArchName::Known(machine)) if machine == native)
            {
                let text = with_list(element, "subArchitectures", |subs| {
                    subs.elements.push(name(arch));
                    Ok(())
                })?;
                *element = text.into();
                return Ok(replaced(json, map, &list.text()));
            }
        }
        let new = format!("{{\"architecture\": {}, \"subArchitectures\": [{}]}}", name(native), name(arch));
        list.elements.push(new.into());
        return Ok(replaced(json, map, &list.text()));
    }
    with_list(json, "architectures", |list| {
        if list.elements.is_empty() && arch != native {
            list.elements.push(name(native));
        }
        list.elements.push(name(arch));
        Ok(())
    })
}

/// Allows the system calls `names`, whatever their arguments and whatever other rules say of them: the first rule is
/// for all calls of its names, and counts before every other. Rules that say another thing than ALLOW lose the names,
/// and go where they have no other.
///
/// # Errors
///
/// The text is no profile.
pub fn allow(json: &str, names: &BTreeSet<&str>) -> anyhow::Result<String> {
    if names.is_empty() {
        return Ok(json.into());
    }
    with_list(json, "syscalls", |list| {
        let mut rules = Vec::new();
        for rule in &list.elements {
            rules.extend(without_names(rule, names)?);
        }
        list.elements = rules;
        let plain = list.elements.first().map(|first| with_names(first, names)).transpose()?;
        match plain.flatten() {
            Some(first) => list.elements[0] = first.into(),
            None => list.elements.insert(0, list.rule(names).into()),
        }
        Ok(())
    })
}

/// A rule that says nothing but ALLOW of these calls; none if it has no others.
fn without_names<'t>(rule: &Cow<'t, str>, names: &BTreeSet<&str>) -> anyhow::Result<Option<Cow<'t, str>>> {
    let fields = fields(rule)?;
    let is_named = |name: &str| Ok::<_, anyhow::Error>(names.contains(string(name)?.as_str()));
    let has = |key| fields.get(key).copied().filter(|value| !is_empty(value));
    if fields.get("action") == Some(&ALLOW) {
        return Ok(Some(rule.clone()));
    }
    if let Some(name) = has("name") {
        return Ok((!is_named(name)?).then(|| rule.clone()));
    }
    let Some(list) = has("names") else { return Ok(Some(rule.clone())) };
    let mut list = List::parse(list)?;
    let before = list.elements.len();
    let mut others = Vec::new();
    for name in list.elements {
        if !is_named(&name)? {
            others.push(name);
        }
    }
    list.elements = others;
    Ok(match list.elements.len() {
        0 => None,
        len if len == before => Some(rule.clone()),
        _ => Some(replaced(rule, fields["names"], &list.text()).into()),
    })
}

/// A rule with more names, if it allows its calls without any condition.
fn with_names(rule: &str, names: &BTreeSet<&str>) -> anyhow::Result<Option<String>> {
    let fields = fields(rule)?;
    let is_plain = fields.iter().all(|(key, value)| match key.as_str() {
        "names" => true,
        "action" => *value == ALLOW,
        _ => is_empty(value),
    });
    if !is_plain || !fields.contains_key("names") {
        return Ok(None);
    }
    with_list(rule, "names", |list| names.iter().try_for_each(|name| list.sort_in(name))).map(Some)
}

/// Whether a value says nothing.
fn is_empty(value: &str) -> bool {
    matches!(value.split_whitespace().collect::<String>().as_str(), "null" | "\"\"" | "[]" | "{}")
}

/// The text of an object with its list `key` changed; a list that is not there comes behind all that is.
fn with_list(
    object: &str,
    key: &str,
    change: impl FnOnce(&mut List) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let fields = fields(object)?;
    let list = fields.get(key).filter(|list| **list != "null");
    let lines = object.contains('\n').then(|| {
        // The blank space before the first key tells how far in this object's are.
        let before = object[1..].split('"').next().unwrap_or_default();
        before.rsplit('\n').next().unwrap_or_default()
    });
    let mut list = match list {
        Some(text) => List::parse(text)?,
        None => List::default(),
    };
    if list.elements.is_empty() {
        list.lay_out(lines);
    }
    change(&mut list)?;
    let text = list.text();
    if let Some(old) = fields.get(key) {
        return Ok(replaced(object, old, &text));
    }
    let end = fields.values().map(|value| place(object, value) + value.len()).max().context("no field")?;
    let space = lines.map_or(" ".into(), |indent| format!("\n{indent}"));
    Ok(format!("{},{space}\"{key}\": {text}{}", &object[..end], &object[end..]))
}

fn string(text: &str) -> anyhow::Result<String> {
    Ok(serde_json::from_str(text)?)
}

/// The fields of an object, with their values as they were written.
fn fields(object: &str) -> anyhow::Result<BTreeMap<String, &str>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object)?;
    Ok(fields.into_iter().map(|(key, value)| (key, value.get())).collect())
}

/// Where `part` begins, which is a part of `whole`.
fn place(whole: &str, part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

fn replaced(whole: &str, part: &str, by: &str) -> String {
    let start = place(whole, part);
    format!("{}{by}{}", &whole[..start], &whole[start + part.len()..])
}

fn quoted(name: &'static str) -> Cow<'static, str> {
    format!("\"{name}\"").into()
}

/// A list as it was written.
#[derive(Default)]
struct List<'t> {
    /// The blank space before the first element, before each other one, and behind the last.
    open: Cow<'t, str>,
    separator: Cow<'t, str>,
    close: Cow<'t, str>,
    elements: Vec<Cow<'t, str>>,
}

impl<'t> List<'t> {
    fn parse(text: &'t str) -> anyhow::Result<Self> {
        let values: Vec<&RawValue> = serde_json::from_str(text)?;
        let spans: Vec<_> = values
            .iter()
            .map(|value| (place(text, value.get()), place(text, value.get()) + value.get().len()))
            .collect();
        let (Some((start, first_end)), Some((_, end))) = (spans.first(), spans.last()) else {
            return Ok(Self::default());
        };
        let open = &text[1..*start];
        let between = spans.get(1).and_then(|(second, _)| text[*first_end..*second].split_once(','));
        let separator = match between {
            Some((_, separator)) => separator,
            None if open.is_empty() => " ",
            None => open,
        };
        ensure!(*end < text.len(), "a list without an end");
        Ok(Self {
            open: open.into(),
            separator: separator.into(),
            close: text[*end..text.len() - 1].into(),
            elements: values.into_iter().map(|value| value.get().into()).collect(),
        })
    }

    /// How an empty list is laid out: on lines, those of its object this far in, or on one.
    fn lay_out(&mut self, lines: Option<&str>) {
        let Some(indent) = lines else {
            self.separator = " ".into();
            return;
        };
        self.open = format!("\n{indent}{INDENT}").into();
        self.separator = self.open.clone();
        self.close = format!("\n{indent}").into();
    }

    /// A rule that allows calls, laid out as an element of this list.
    fn rule(&self, names: &BTreeSet<&str>) -> String {
        let mut list = Self {
            elements: names.iter().map(|name| format!("\"{name}\"").into()).collect(),
            ..Self::default()
        };
        let Some((_, indent)) = self.separator.rsplit_once('\n') else {
            list.separator = " ".into();
            return format!("{{\"names\": {}, \"action\": \"SCMP_ACT_ALLOW\"}}", list.text());
        };
        // Rules are twice as far in as the profile's keys are.
        let step = indent.get(..indent.len() / 2).filter(|step| !step.is_empty()).unwrap_or(INDENT);
        let inner = format!("\n{indent}{step}");
        list.open = format!("{inner}{step}").into();
        list.separator = list.open.clone();
        list.close = inner.as_str().into();
        format!("{{{inner}\"names\": {},{inner}\"action\": \"SCMP_ACT_ALLOW\"\n{indent}}}", list.text())
    }

    /// Adds a name before the first that is greater, unless it is there.
    fn sort_in(&mut self, name: &str) -> anyhow::Result<()> {
        let others: Vec<_> =
            self.elements.iter().map(|other| string(other)).collect::<anyhow::Result<_>>()?;
        if !others.iter().any(|other| other == name) {
            let index = others.iter().position(|other| other.as_str() > name).unwrap_or(others.len());
            self.elements.insert(index, format!("\"{name}\"").into());
        }
        Ok(())
    }

    fn text(&self) -> String {
        let Self { open, separator, close, elements } = self;
        if elements.is_empty() {
            return "[]".into();
        }
        format!("[{open}{}{close}]", elements.join(&format!(",{separator}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(json: &str, names: &[&str]) -> String {
        allow(json, &names.iter().copied().collect()).unwrap()
    }

    #[test]
    fn names_go_to_a_first_rule_that_has_no_conditions() {
        let json = "{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n \"syscalls\": [ { \"names\": [\"close\",  \"write\"],\n\
                    \"action\": \"SCMP_ACT_ALLOW\", \"args\": [ ], \"comment\": \"\", \"includes\": {} },\n{\"name\":\"x\"}]}";
        let expected = json.replace("\"close\",  \"write\"", "\"brk\",  \"close\",  \"read\",  \"write\"");
        assert_eq!(allowed(json, &["read", "brk", "close"]), expected);
        assert_eq!(allowed(&expected, &["read", "brk"]), expected);
        assert_eq!(allowed(json, &[]), json);
    }

    #[test]
    fn otherwise_a_rule_comes_first() {
        for first in [
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]}"#,
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "comment": "mine"}"#,
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_BPF"]}}"#,
            r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO"}"#,
            r#"{"name": "a", "action": "SCMP_ACT_ALLOW"}"#,
        ] {
            let json =
                |rules: &str| format!("{{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{rules}]}}");
            let new = r#"{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}"#;
            assert_eq!(allowed(&json(first), &["write", "read"]), json(&format!("{new}, {first}")));
        }
        let tabs =
            "{\n\t\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\t\"syscalls\": [\n\t\t{\"name\": \"a\"}\n\t]\n}\n";
        let rule =
            "{\n\t\t\t\"names\": [\n\t\t\t\t\"read\"\n\t\t\t],\n\t\t\t\"action\": \"SCMP_ACT_ALLOW\"\n\t\t}";
        let expected = tabs.replace("{\"name\"", &format!("{rule},\n\t\t{{\"name\""));
        assert_eq!(allowed(tabs, &["read"]), expected);
    }

    #[test]
    fn other_rules_lose_the_names() {
        let json = |rules: &str| format!("{{\"defaultAction\": \"SCMP_ACT_KILL\", \"syscalls\": [{rules}]}}");
        let allow = r#"{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]}"#;
        let rules = |names: &str| format!(r#"{allow}, {{"names": [{names}], "action": "SCMP_ACT_TRAP"}}"#);
        let gone =
            r#"{"name": "read", "action": "SCMP_ACT_ERRNO"}, {"names": ["clone"], "action": "SCMP_ACT_LOG"}"#;
        let new = r#"{"names": ["clone", "read"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(
            allowed(&json(&format!("{gone}, {}", rules(r#""read","a","clone","b""#))), &["clone", "read"]),
            json(&format!("{new}, {}", rules(r#""a","b""#)))
        );
    }

    #[test]
    fn a_list_that_is_not_there_comes_last() {
        let json = "{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\"\n}\n";
        let with_arch = add_arch(json, Arch::X86_64, Arch::X86_64).unwrap();
        assert_eq!(
            allowed(&with_arch, &["read"]),
            "{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"architectures\": [\n    \"SCMP_ARCH_X86_64\"\n  ],\n  \
             \"syscalls\": [\n    {\n      \"names\": [\n        \"read\"\n      ],\n      \
             \"action\": \"SCMP_ACT_ALLOW\"\n    }\n  ]\n}\n"
        );
        let line = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":null}";
        let rule = "[{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"}]";
        assert_eq!(allowed(line, &["read"]), line.replace("null", rule));
    }

    #[test]
    fn architectures_are_added_where_they_are() {
        let add = |json: &str| add_arch(json, Arch::X86_64, Arch::I386).unwrap();
        assert_eq!(
            add(r#"{"defaultAction": 1, "architectures": []}"#),
            r#"{"defaultAction": 1, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}"#
        );
        assert_eq!(add(r#"{"architectures": ["a","b"]}"#), r#"{"architectures": ["a","b","SCMP_ARCH_X86"]}"#);
        let map =
            |rest: &str| format!("{{\"archMap\": [{{\"architecture\": \"SCMP_ARCH_AARCH64\"}}, {rest}]}}");
        let has = |subs: &str| {
            format!("{{\"architecture\": \"SCMP_ARCH_X86_64\", \"subArchitectures\": [{subs}]}}")
        };
        assert_eq!(add(&map(&has("\"SCMP_ARCH_X32\""))), map(&has("\"SCMP_ARCH_X32\", \"SCMP_ARCH_X86\"")));
        assert_eq!(add(&map("{\"architecture\": \"SCMP_ARCH_X86_64\"}")), map(&has("\"SCMP_ARCH_X86\"")));
        let only = "{\"archMap\": [{\"architecture\": \"SCMP_ARCH_ARM\"}]}";
        assert_eq!(add(only), only.replace("]}", &format!(", {}]}}", has("\"SCMP_ARCH_X86\""))));
    }
}
