//! The format: OCI's `linux.seccomp`, and what Docker, Podman and containerd add to it.

use anyhow::{Context, anyhow, ensure};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::action::Action;
use crate::names::no_such;

/// A profile as it was written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    pub(super) default_action: Action,
    pub(super) default_errno_ret: Option<u64>,
    pub(super) default_errno: Option<String>,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) arch_map: Option<Vec<ArchMap>>,
    pub(super) flags: Option<Vec<String>>,
    // For whoever finds the supervisor; the filter is the same.
    pub(super) listener_path: Option<String>,
    #[serde(rename = "listenerMetadata")]
    _listener_metadata: Option<String>,
    pub(super) syscalls: Option<Vec<Rule>>,
    /// Where there are keys that nobody reads.
    #[serde(skip)]
    pub(super) unknown_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArchMap {
    pub(super) architecture: String,
    pub(super) sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    pub(super) action: Action,
    pub(super) errno_ret: Option<u64>,
    pub(super) errno: Option<String>,
    pub(super) args: Option<Vec<Arg>>,
    #[serde(rename = "comment")]
    _comment: Option<Value>,
    pub(super) includes: Option<Conditions>,
    pub(super) excludes: Option<Conditions>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Arg {
    pub(super) index: u32,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: Op,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

const OPS: [(&str, Op); 7] = [
    ("SCMP_CMP_NE", Op::Ne),
    ("SCMP_CMP_LT", Op::Lt),
    ("SCMP_CMP_LE", Op::Le),
    ("SCMP_CMP_EQ", Op::Eq),
    ("SCMP_CMP_GE", Op::Ge),
    ("SCMP_CMP_GT", Op::Gt),
    ("SCMP_CMP_MASKED_EQ", Op::MaskedEq),
];

impl TryFrom<String> for Op {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = OPS.iter().find(|(name, _)| *name == text).map(|(_, op)| *op);
        found.ok_or_else(|| no_such("comparison", &text, OPS.map(|(name, _)| name)))
    }
}

/// What tells a profile and an OCI bundle's `config.json` apart.
#[derive(Deserialize)]
pub(super) struct Keys {
    #[serde(rename = "defaultAction")]
    default_action: Option<IgnoredAny>,
    #[serde(rename = "ociVersion")]
    oci_version: Option<IgnoredAny>,
    linux: Option<IgnoredAny>,
}

impl Keys {
    /// Those of an object; what is none is told of when it is read as one.
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn is_bundle(&self) -> bool {
        self.default_action.is_none() && (self.oci_version.is_some() || self.linux.is_some())
    }
}

#[derive(Deserialize)]
struct Bundle {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    seccomp: Option<Profile>,
}

/// When a rule counts, or does not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conditions {
    pub(super) caps: Option<Vec<String>>,
    pub(super) arches: Option<Vec<String>>,
    pub(super) min_kernel: Option<String>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// It is no JSON, or not a profile's; the message has line and column. A key that stands twice is one. Or it is a
    /// bundle's configuration, and there is no profile in it.
    pub fn parse(json: &[u8]) -> anyhow::Result<Self> {
        // A list is taken for the fields in order otherwise.
        ensure!(json.trim_ascii_start().starts_with(b"{"), "no JSON object");
        // What is no JSON at all is told of below.
        if !Keys::of(json).is_some_and(|keys| keys.is_bundle()) {
            return Self::read(json, "", |profile: Self| Some(profile));
        }
        Self::read(json, "linux.seccomp.", |bundle: Bundle| bundle.linux?.seccomp)
    }

    /// The profile that `find` takes out of what it is in. Keys that nobody reads count below `within`.
    fn read<T: DeserializeOwned>(
        json: &[u8],
        within: &str,
        find: impl FnOnce(T) -> Option<Self>,
    ) -> anyhow::Result<Self> {
        let mut unknown_keys = Vec::new();
        let mut source = serde_json::Deserializer::from_slice(json);
        let read = serde_ignored::deserialize(&mut source, |key| {
            let place = place(&key.to_string());
            if place.starts_with(within) {
                unknown_keys.push(place);
            }
        })?;
        source.end()?;
        let profile =
            find(read).context("a bundle without linux.seccomp, of which runtimes filter nothing")?;
        Ok(Self { unknown_keys, ..profile })
    }
}

impl Rule {
    /// The system calls that it is about.
    pub(super) fn names(&self) -> anyhow::Result<&[String]> {
        match (&self.name, &self.names) {
            (Some(name), Some(names)) if !name.is_empty() && !names.is_empty() => {
                Err(anyhow!("both name and names, where one of them is needed"))
            }
            (Some(name), _) if !name.is_empty() => Ok(std::slice::from_ref(name)),
            (_, names) => {
                let names = names.as_deref().context("neither name nor names")?;
                ensure!(!names.is_empty(), "names is empty");
                Ok(names)
            }
        }
    }
}

/// A path such as `syscalls.?.3.arg` as it would be written in a program: `syscalls[3].arg`.
fn place(path: &str) -> String {
    let mut place = String::new();
    for part in path.split('.').filter(|part| *part != "?") {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            place.extend(["[", part, "]"]);
        } else {
            if !place.is_empty() {
                place.push('.');
            }
            place.push_str(part);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        Profile::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_have_their_place() {
        assert_eq!(error("{"), "EOF while parsing an object at line 1 column 1");
        assert_eq!(error("[]"), "no JSON object");
        assert_eq!(error("{}"), "missing field `defaultAction` at line 1 column 2");
        let words = "\"ALLOW\" is no action, did you mean \"SCMP_ACT_ALLOW\"? at line 1 column 26";
        assert_eq!(error("{\"defaultAction\": \"ALLOW\"}"), words);
        let allow = "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n";
        assert_eq!(
            error(&format!("{allow}\"defaultAction\": \"SCMP_ACT_ALLOW\"}}")),
            "duplicate field `defaultAction` at line 2 column 15"
        );
        let arg = "{\"index\": 0, \"op\": \"SCMP_CMP_EQ\", \"value\": 18446744073709551616}";
        let big = format!(
            "{allow}\"syscalls\": [{{\"name\": \"read\", \"action\": \"SCMP_ACT_KILL\", \"args\": [{arg}]}}]}}"
        );
        assert!(error(&big).contains("at line 2 column "), "{}", error(&big));
        assert_eq!(error(&format!("{allow}\"flags\": []}} x")), "trailing characters at line 2 column 14");
    }

    #[test]
    fn keys_that_nobody_reads_are_known() {
        let json = r#"{"defaultAction": "SCMP_ACT_KILL", "x": 1, "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "arg": [], "comment": ""}]}"#;
        assert_eq!(Profile::parse(json.as_bytes()).unwrap().unknown_keys, ["x", "syscalls[0].arg"]);
    }
}
