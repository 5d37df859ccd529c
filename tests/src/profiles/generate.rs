//! Profiles out of a seed.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use seccomp_kernel::Arch;
use serde_json::{Value, json};

use super::OPERATORS;
use super::calls::value;
use super::libseccomp::{LACKS, Libseccomp, name, token};

/// Names that libseccomp knows as well, of the same architectures.
pub struct Names(Vec<&'static str>);

/// Names that the generator likes: their calls come by several ways.
const LIKED: [&str; 8] = ["socket", "sendto", "accept", "semop", "shmat", "socketcall", "ipc", "personality"];

/// A call that every profile has one rule for, on every architecture and without arguments. Without such a
/// one libseccomp 2.5 can forget to load the number: it begins with the simplest rule, and where that is for a
/// call that the architecture has not, with nothing.
const SIMPLE: &str = "getppid";

impl Names {
    /// The names of `arches`' calls.
    pub fn of(arches: &[Arch], libseccomp: &Libseccomp) -> Self {
        let mut names: Vec<_> =
            arches.iter().flat_map(|arch| arch.syscalls().map(|(_, name)| name)).collect();
        names.sort_unstable();
        names.dedup();
        let known = libseccomp.numbers(Arch::X86_64, &names);
        Self(
            names
                .into_iter()
                .zip(known)
                .filter_map(|(name, known)| known.map(|_| name))
                .filter(|name| *name != SIMPLE && !LACKS.iter().any(|(_, lacked, _)| lacked == name))
                .collect(),
        )
    }
}

/// A profile for x86-64 and perhaps other architectures.
pub fn profile(rng: &mut SmallRng, names: &Names) -> Value {
    const ACTIONS: [&str; 7] = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG"];
    let action = |rng: &mut SmallRng| {
        let action = *ACTIONS.choose(rng).expect("there are some");
        let errno = matches!(action, "ERRNO" | "TRACE").then(|| rng.random_range(0..200));
        (format!("SCMP_ACT_{action}"), errno)
    };
    let (default, errno) = action(rng);
    let mut profile = json!({ "defaultAction": default });
    if let Some(errno) = errno {
        profile["defaultErrnoRet"] = errno.into();
    }
    let others = [Arch::I386, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::Riscv64];
    let others: Vec<_> =
        others.into_iter().filter(|arch| token(*arch).is_some() && rng.random_bool(0.4)).collect();
    profile["architectures"] = others.into_iter().map(name).collect();

    let mut own: Vec<&str> = LIKED.to_vec();
    own.extend((0..rng.random_range(4..40)).filter_map(|_| names.0.choose(rng)));
    // Where rules meet, they mostly agree.
    let usual = action(rng);
    let rules = (0..rng.random_range(1..60)).map(|_| {
        let (action, errno) = if rng.random_bool(0.7) { usual.clone() } else { action(rng) };
        let count = *[1, 1, 1, 2, 12].choose(rng).expect("there are some");
        let names = own.choose_multiple(rng, count);
        let mut rule = json!({ "names": names.collect::<Vec<_>>(), "action": action, "args": args(rng) });
        if let Some(errno) = errno {
            rule["errnoRet"] = errno.into();
        }
        rule
    });
    let mut rules: Vec<_> = rules.collect();
    let simple = if profile["defaultAction"] == "SCMP_ACT_ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
    rules.push(json!({ "names": [SIMPLE], "action": simple }));
    profile["syscalls"] = rules.into();
    profile
}

fn args(rng: &mut SmallRng) -> Vec<Value> {
    let count = *[0, 1, 1, 1, 2, 3].choose(rng).expect("there are some");
    let mut indices = [0, 1, 2, 3, 4, 5];
    indices.shuffle(rng);
    // Most ask for equality, as profiles do.
    let equality = rng.random_bool(0.6);
    let mut args: Vec<_> = indices[..count]
        .iter()
        .map(|index| {
            let op = if equality { ["EQ", "MASKED_EQ"].choose(rng) } else { OPERATORS.choose(rng) };
            let op = format!("SCMP_CMP_{}", op.expect("there are some"));
            json!({ "index": index, "op": op, "value": value(rng), "valueTwo": value(rng) })
        })
        .collect();
    if rng.random_bool(0.05)
        && let Some(first) = args.first().cloned()
    {
        // One argument twice.
        args.push(first);
        args.last_mut().expect("pushed")["value"] = value(rng).into();
    }
    args
}
