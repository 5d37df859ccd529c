//! Names and numbers of system calls are those of Linux's headers, at every entry and in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use seccomp_kernel::runtime::NUMBERS;
use seccomp_kernel::{Arch, NR_SYSCALLS, X32_SYSCALL_BIT};
use serde_json::Value;

/// Calls that are newer than the headers, and since when Linux has them.
const NEWER: [(Arch, i32, &str, &str); 2] =
    [(Arch::X86_64, 336, "uprobe", "6.18"), (Arch::X32, 336 | X32_SYSCALL_BIT, "uprobe", "6.18")];

/// Constants of the headers that are called like a call and are none.
const NO_CALLS: [(Arch, &str); 4] = [
    (Arch::Arm, "__ARM_NR_BASE"),
    (Arch::Arm, "__NR_OABI_SYSCALL_BASE"),
    (Arch::Arm, "__NR_SYSCALL_BASE"),
    (Arch::Arm, "__NR_SYSCALL_MASK"),
];

/// Second names.
const ALSO: [(Arch, i32, &str); 1] = [(Arch::Arm, 341, "sync_file_range2")];

/// Where the crate `linux-raw-sys` is, which bindgen made of the headers of a Linux for each of its machines.
fn headers() -> PathBuf {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"]);
    metadata.arg("x86_64-unknown-linux-gnu").current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = metadata.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "linux-raw-sys").expect("the crate");
    let manifest = package["manifest_path"].as_str().expect("a path");
    PathBuf::from(manifest).with_file_name("src")
}

/// What the headers say of one entry, by name.
fn of_headers(arch: Arch) -> BTreeMap<String, i32> {
    let folder = if arch == Arch::I386 { "x86" } else { arch.name() };
    let path = headers().join(folder).join("general.rs");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut no_calls =
        NO_CALLS.iter().filter(|(of, _)| *of == arch).map(|(_, name)| *name).collect::<Vec<_>>();
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let Some((name, number)) =
            line.strip_prefix("pub const ").and_then(|line| line.split_once(": u32 = "))
        else {
            continue;
        };
        let Some(call) = name.strip_prefix("__NR_").or_else(|| name.strip_prefix("__ARM_NR_")) else {
            continue;
        };
        if let Some(at) = no_calls.iter().position(|other| *other == name) {
            no_calls.swap_remove(at);
            continue;
        }
        let number = number.strip_suffix(';').and_then(|number| number.parse().ok());
        assert_eq!(calls.insert(call.into(), number.expect(line)), None, "{line}");
    }
    assert!(no_calls.is_empty(), "{}: {no_calls:?} are not there", arch.name());
    for (_, nr, name, since) in NEWER.iter().filter(|(of, ..)| *of == arch) {
        let before = calls.insert((*name).into(), *nr);
        assert_eq!(before, None, "{}: the headers have {name} of Linux {since}", arch.name());
    }
    calls
}

/// Numbers that could have names: what there is and a good deal behind it, at each place where numbers begin.
fn numbers() -> impl Iterator<Item = i32> {
    let begins = [0, 0xf_0000, X32_SYSCALL_BIT, X32_SYSCALL_BIT | 0xf_0000];
    begins.into_iter().flat_map(|begin| begin..begin + 4096).chain([-1, i32::MIN, i32::MAX])
}

#[test]
fn names_and_numbers_are_those_of_linuxs_headers() {
    let headers = Arch::ALL.map(|arch| (arch, of_headers(arch)));
    let mut names: BTreeSet<&str> =
        headers.iter().flat_map(|(_, calls)| calls.keys().map(String::as_str)).collect();
    // Names of the tables that no machine has.
    names.extend(["fstatat", "r#break"]);
    let mut wrong = Vec::new();
    for (arch, calls) in &headers {
        let entry = arch.name();
        assert!(calls.len() > 300, "{entry}: {} calls", calls.len());
        for name in &names {
            let (ours, theirs) = (arch.syscall_number(name), calls.get(*name).copied());
            if ours != theirs {
                wrong.push(format!("{entry}: the number of {name} is {theirs:?}, here {ours:?}"));
            }
        }
        let also = ALSO.iter().filter(|(of, ..)| of == arch);
        let mut first = calls.clone();
        for (_, nr, name) in also {
            assert_eq!(first.remove(*name), Some(*nr), "{entry}: {name}");
        }
        let mut by_number = BTreeMap::new();
        for (name, nr) in &first {
            assert_eq!(by_number.insert(*nr, name.as_str()), None, "{entry}: {nr} has two names");
        }
        for nr in numbers() {
            let (ours, theirs) = (arch.syscall_name(nr), by_number.get(&nr).copied());
            if ours != theirs {
                wrong.push(format!("{entry}: the name of {nr} is {theirs:?}, here {ours:?}"));
            }
        }
        let list: Vec<(i32, &str)> = arch.syscalls().collect();
        assert!(list.into_iter().eq(by_number), "{entry}: the list is another");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What has a row for each number has one for every call of every entry, but for those whose numbers begin elsewhere.
#[test]
fn tables_have_room_for_every_number() {
    let all = Arch::ALL.into_iter().flat_map(|arch| arch.syscalls().map(move |(nr, _)| (arch, nr)));
    let ordinary = all.filter(|(arch, nr)| *arch != Arch::X32 && *nr < 0xf_0000);
    let highest = ordinary.map(|(_, nr)| nr).max().expect("there are calls");
    assert_eq!(highest + 1, NR_SYSCALLS);
    assert!((highest as usize) < NUMBERS);
}
