//! Profiles of container engines: made from a seed, compiled by libseccomp, and the calls to decide on.

mod calls;
mod generate;
mod libseccomp;
mod runc;

pub use calls::calls;
pub use generate::{Names, profile};
pub use libseccomp::{Compiled, LACKS, Libseccomp, Optimize, token};
pub use runc::Runc;

use seccomp_kernel::Arch;
use serde_json::Value;

/// One rule for one name, as a runtime gives it to libseccomp.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its index in the profile's `syscalls`.
    pub index: usize,
    /// The call.
    pub name: String,
    /// The return value.
    pub action: u32,
    /// Comparisons that all have to hold: argument, operator, value, second value.
    pub args: Vec<Arg>,
}

/// A comparison of an argument: its index, an operator of [`OPERATORS`], and two values.
pub type Arg = (u8, &'static str, u64, u64);

/// libseccomp's operators, from number 1 on.
pub const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// What is asked of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What the engine calls the architecture.
    pub arch: &'a str,
    /// The capabilities.
    pub caps: &'a [&'a str],
    /// The kernel's version.
    pub kernel: (u32, u32),
}

/// The rules of a profile as runc and crun give them to libseccomp, read here for itself.
///
/// # Panics
///
/// It is not what the tests have.
pub fn rules(profile: &Value, asked: Asked<'_>) -> Vec<Rule> {
    let default = action(profile, "defaultAction", "defaultErrnoRet");
    let mut rules = Vec::new();
    for (index, rule) in array(&profile["syscalls"]).iter().enumerate() {
        let value = action(rule, "action", "errnoRet");
        if !counts(rule, asked) || value == default {
            continue;
        }
        let args: Vec<Arg> = array(&rule["args"]).iter().map(arg).collect();
        let pair = (0..6u8).any(|index| args.iter().filter(|arg| arg.0 == index).count() > 1);
        let groups: Vec<Vec<Arg>> =
            if pair { args.iter().map(|arg| vec![*arg]).collect() } else { vec![args] };
        let names = rule["name"].as_str().map(String::from).into_iter();
        for name in
            names.chain(array(&rule["names"]).iter().map(|name| name.as_str().expect("a name").into()))
        {
            for args in &groups {
                rules.push(Rule { index, name: name.clone(), action: value, args: args.clone() });
            }
        }
    }
    rules
}

/// The profile's architectures on a machine with this one.
///
/// # Panics
///
/// It is not what the tests have.
pub fn arches(profile: &Value, native: Arch) -> Vec<Arch> {
    let mapped =
        array(&profile["archMap"]).iter().find(|map| map["architecture"] == libseccomp::name(native));
    let names = array(&profile["architectures"]).iter();
    let names = names.chain(mapped.iter().flat_map(|map| array(&map["subArchitectures"])));
    let mut arches = vec![native];
    for name in names {
        let arch = Arch::ALL.into_iter().find(|arch| *name == libseccomp::name(*arch));
        let arch = arch.unwrap_or_else(|| panic!("{name}"));
        if !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    arches
}

/// The return value of a profile's action.
///
/// # Panics
///
/// It is not what the tests have.
pub fn action(object: &Value, key: &str, errno: &str) -> u32 {
    let errno = object[errno].as_u64().unwrap_or(1) as u32;
    match object[key].as_str().expect("an action") {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        other => panic!("{other}"),
    }
}

fn counts(rule: &Value, asked: Asked<'_>) -> bool {
    let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
    let has = |cap: &Value| asked.caps.iter().any(|has| cap == has);
    let is = |arch: &Value| arch == asked.arch;
    let kernel = |least: &Value| {
        let least = least.as_str()?;
        let (major, minor) = least.split_once('.')?;
        Some(asked.kernel >= (major.parse().ok()?, minor.parse().ok()?))
    };
    let included = array(&includes["arches"]);
    (included.is_empty() || included.iter().any(is))
        && array(&includes["caps"]).iter().all(has)
        && kernel(&includes["minKernel"]).unwrap_or(true)
        && !array(&excludes["arches"]).iter().any(is)
        && !array(&excludes["caps"]).iter().any(has)
        && !kernel(&excludes["minKernel"]).unwrap_or(false)
}

fn arg(arg: &Value) -> Arg {
    let number = |key: &str| arg[key].as_u64();
    let op = OPERATORS.into_iter().find(|op| arg["op"] == format!("SCMP_CMP_{op}"));
    (
        number("index").expect("an index") as u8,
        op.expect("an operator"),
        number("value").expect("a value"),
        number("valueTwo").unwrap_or(0),
    )
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
