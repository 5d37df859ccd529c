//! Profiles: what the command's compiler makes of them decides as libseccomp's filters do, on every call.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cbpf_translator::cbpf::{AluOp, Opcode, Source};
use cbpf_translator::{SockFilter, check};
use rand::rngs::SmallRng;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_rbpf::profile::{Machine, Meaning, Profile};
use seccomp_runtime::{EngineKind, Loaded, NoExecMemory, SeccompData};
use seccomp_tests::profiles::{self, Arg, Asked, LACKS, Libseccomp, Names, Optimize, Rule, token};
use seccomp_tests::{generate, host};
use serde_json::Value;

/// libseccomp's errno for a rule that contradicts another one.
const EEXIST: i32 = 17;

/// Generated profiles, unless `SECCOMP_PROFILES` says another number.
const PROFILES: u64 = 60;

fn count() -> u64 {
    generate::campaign(PROFILES, "SECCOMP_PROFILES")
}

fn load(filter: Vec<SockFilter>) -> Loaded {
    let checked = check(filter).expect("Linux would take it");
    Loaded::load(checked, EngineKind::Native, &NoExecMemory).expect("it loads")
}

fn machine(asked: Asked<'_>, arch: Arch) -> Machine {
    let kernel = format!("{}.{}", asked.kernel.0, asked.kernel.1);
    Machine {
        arch,
        caps: asked.caps.iter().map(|cap| String::from(*cap)).collect(),
        kernel: kernel.parse().expect("a version"),
    }
}

fn resolve(profile: &Value, asked: Asked<'_>, arch: Arch) -> anyhow::Result<Meaning> {
    Profile::parse(profile.to_string().as_bytes())?.resolve(&machine(asked, arch))
}

const ASKED: Asked<'static> = Asked { arch: "amd64", caps: &[], kernel: (6, 1) };

/// Whether libseccomp keeps to what it says of these rules, all for one number of `arch`. Where several rules
/// for one call ask for more than equality, its filters can lose or mix up some; `docs/profiles.md` shows how.
fn is_kept(rules: &[(u32, Vec<Arg>)], arch: Arch) -> bool {
    let counts = |(_, op, mask, _): &Arg| {
        let mask = if arch.is_compat() { mask & u64::from(u32::MAX) } else { *mask };
        *op != "MASKED_EQ" || mask != 0
    };
    let rules: Vec<Vec<&Arg>> = rules
        .iter()
        .map(|(_, args)| {
            let mut args: Vec<_> = args.iter().filter(|arg| counts(arg)).collect();
            args.sort_by_key(|arg| arg.0);
            args
        })
        .collect();
    let all = |operators: &[&str]| rules.iter().flatten().all(|arg| operators.contains(&arg.1));
    let single = rules.iter().all(|args| args.len() <= 1);
    rules.len() <= 1 || all(&["EQ"]) || single && (arch.is_compat() || all(&["EQ", "MASKED_EQ"]))
}

/// socketcall's and ipc's calls on i386: its number, the call's there, and the call.
#[rustfmt::skip]
const MULTIPLEXED: [(i32, u64, &str); 32] = [
    (102, 1, "socket"), (102, 2, "bind"), (102, 3, "connect"), (102, 4, "listen"),
    (102, 5, "accept"), (102, 6, "getsockname"), (102, 7, "getpeername"), (102, 8, "socketpair"),
    (102, 9, "send"), (102, 10, "recv"), (102, 11, "sendto"), (102, 12, "recvfrom"),
    (102, 13, "shutdown"), (102, 14, "setsockopt"), (102, 15, "getsockopt"), (102, 16, "sendmsg"),
    (102, 17, "recvmsg"), (102, 18, "accept4"), (102, 19, "recvmmsg"), (102, 20, "sendmmsg"),
    (117, 1, "semop"), (117, 2, "semget"), (117, 3, "semctl"), (117, 4, "semtimedop"),
    (117, 11, "msgsnd"), (117, 12, "msgrcv"), (117, 13, "msgget"), (117, 14, "msgctl"),
    (117, 21, "shmat"), (117, 22, "shmdt"), (117, 23, "shmget"), (117, 24, "shmctl"),
];

fn is_multiplexed(name: &str) -> bool {
    MULTIPLEXED.iter().any(|(_, _, other)| *other == name)
}

/// Whether a comparison holds.
fn holds((index, op, value, second): &Arg, arch: Arch, args: &[u64; 6]) -> bool {
    let width = if arch.is_compat() { u64::from(u32::MAX) } else { u64::MAX };
    let (arg, value, second) = (args[usize::from(*index)] & width, value & width, second & width);
    match *op {
        "NE" => arg != value,
        "LT" => arg < value,
        "LE" => arg <= value,
        "EQ" => arg == value,
        "GE" => arg >= value,
        "GT" => arg > value,
        _ => arg & value == second & value,
    }
}

/// The rules by the numbers that they come to on `arch`, those that libseccomp has of itself.
fn by_number(rules: &[Rule], arch: Arch, libseccomp: &Libseccomp) -> BTreeMap<i32, Vec<(u32, Vec<Arg>)>> {
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let mut numbers: BTreeMap<i32, Vec<(u32, Vec<Arg>)>> = BTreeMap::new();
    for (rule, nr) in rules.iter().zip(libseccomp.numbers(arch, &names)) {
        let own = arch.syscall_number(&rule.name).filter(|_| is_multiplexed(&rule.name));
        if let Some(nr) = own.or(nr).filter(|nr| *nr >= 0) {
            numbers.entry(nr).or_default().push((rule.action, rule.args.clone()));
        }
        for (nr, number, name) in MULTIPLEXED.into_iter().filter(|_| arch == Arch::I386) {
            if name == rule.name {
                let others = rule.args.iter().filter(|arg| arg.0 != 0).copied();
                let args = [(0, "EQ", number, 0)].into_iter().chain(others).collect();
                numbers.entry(nr).or_default().push((rule.action, args));
            }
        }
    }
    numbers
}

/// What was compared.
#[derive(Default)]
struct Tally {
    decisions: usize,
    /// Decisions that libseccomp does not take as its rules say.
    not_kept: usize,
}

/// Compares what both make of a profile on a machine of this architecture.
fn compare(
    profile: &Value,
    asked: Asked<'_>,
    native: Arch,
    libseccomp: &Libseccomp,
    rng: &mut SmallRng,
    tally: &mut Tally,
) {
    let default = profiles::action(profile, "defaultAction", "defaultErrnoRet");
    let rules = profiles::rules(profile, asked);
    let arches = profiles::arches(profile, native);
    let theirs = libseccomp.compile(default, &arches, &rules, Optimize::Linear);
    assert!(theirs.refused.is_empty(), "{:?}", theirs.refused);
    let theirs = load(theirs.filter);
    let meaning = resolve(profile, asked, native).unwrap_or_else(|error| panic!("{error:#}"));
    let ours = load(meaning.compile().expect("it fits"));

    for arch in &arches {
        let numbers = by_number(&rules, *arch, libseccomp);
        for call in profiles::calls(*arch, &rules, rng) {
            let (ours, theirs) = (ours.run(&call), theirs.run(&call));
            assert_eq!(ours, meaning.decide(&call).0, "our filter and our meaning: {call:x?}\n{profile:#}");
            tally.decisions += 1;
            // Whatever rule counts, it is one that holds; the default is for calls of which none does.
            let said = numbers.get(&call.nr).into_iter().flatten();
            let mut said =
                said.filter(|(_, args)| args.iter().all(|arg| holds(arg, *arch, &call.args))).peekable();
            let right =
                if said.peek().is_some() { said.any(|(value, _)| *value == ours) } else { ours == default };
            let guarded = *arch == Arch::X86_64 && call.nr != -1 && call.nr.cast_unsigned() >= 0x4000_0000;
            let right = right || guarded || *arch == Arch::X32 && call.nr.cast_unsigned() < 0x4000_0000;
            assert!(right, "{}: {ours:#x} for {call:x?}\n{profile:#}", arch.name());
            if ours != theirs {
                let kept = numbers.get(&call.nr).is_none_or(|rules| is_kept(rules, *arch));
                assert!(
                    !kept,
                    "{}: {ours:#x}, libseccomp has {theirs:#x} for {call:x?}\n{profile:#}",
                    arch.name()
                );
                tally.not_kept += 1;
            }
        }
    }
    // Entries that the profile has not.
    for arch in
        [0, u32::MAX, Arch::Loongarch64.audit_arch()].into_iter().chain(Arch::ALL.map(Arch::audit_arch))
    {
        for nr in [0, 1, 59, 0x4000_0000, 0x4000_0001, -1] {
            let call = SeccompData { nr, arch, ..SeccompData::default() };
            assert_eq!(ours.run(&call), theirs.run(&call), "{call:x?}\n{profile:#}");
        }
    }
}

/// Takes rules out of a profile until nothing contradicts. What libseccomp refuses is refused here too, where it
/// keeps to what it says; some contradictions it overlooks.
fn without_conflicts(profile: &mut Value, libseccomp: &Libseccomp) {
    let default = profiles::action(profile, "defaultAction", "defaultErrnoRet");
    let arches = profiles::arches(profile, Arch::X86_64);
    loop {
        let rules = profiles::rules(profile, ASKED);
        let theirs = libseccomp.compile(default, &arches, &rules, Optimize::Linear).refused;
        let ours = resolve(profile, ASKED, Arch::X86_64).err().map(|error| format!("{error:#}"));
        assert!(theirs.values().all(|errno| *errno == EEXIST), "{theirs:?}");
        let kept = arches
            .iter()
            .all(|arch| by_number(&rules, *arch, libseccomp).values().all(|rules| is_kept(rules, *arch)));
        if kept {
            assert!(ours.is_some() || theirs.is_empty(), "{theirs:?}\n{profile:#}");
        }
        let index = match (ours, theirs.keys().next()) {
            (None, None) => return,
            (_, Some(place)) => rules[*place].index,
            (Some(ours), None) => {
                let index = ours.strip_prefix("syscalls[").and_then(|text| text.split(']').next());
                index.and_then(|index| index.parse().ok()).unwrap_or_else(|| panic!("{ours}"))
            }
        };
        profile["syscalls"].as_array_mut().expect("rules").remove(index);
    }
}

#[test]
fn generated_profiles_decide_as_libseccomp() {
    let (mut rng, libseccomp) = (generate::seeded(), Libseccomp::new());
    let arches: Vec<_> = Arch::ALL.into_iter().filter(|arch| token(*arch).is_some()).collect();
    let names = Names::of(&arches, &libseccomp);
    let mut tally = Tally::default();
    for _ in 0..count() {
        let mut profile = profiles::profile(&mut rng, &names);
        without_conflicts(&mut profile, &libseccomp);
        compare(&profile, ASKED, Arch::X86_64, &libseccomp, &mut rng, &mut tally);
    }
    println!("{} decisions, {} where libseccomp leaves its rules", tally.decisions, tally.not_kept);
    assert!(tally.not_kept * 10 < tally.decisions);
}

/// The profiles that Debian's packages have: containers-common's, and Docker's where `.ci/run` has put it.
fn packaged() -> Vec<PathBuf> {
    const CONTAINERS: &str = "/usr/share/containers/seccomp.json";
    assert!(Path::new(CONTAINERS).exists(), "{CONTAINERS}: golang-github-containers-common is not installed");
    let more = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian-profiles");
    let more = fs::read_dir(more).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut all: Vec<_> = more.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    all.push(CONTAINERS.into());
    all.sort();
    all
}

#[test]
fn packaged_profiles_decide_as_libseccomp() {
    const ALL: [&str; 13] = [
        "CAP_AUDIT_WRITE",
        "CAP_BPF",
        "CAP_DAC_READ_SEARCH",
        "CAP_SYSLOG",
        "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT",
        "CAP_SYS_CHROOT",
        "CAP_SYS_MODULE",
        "CAP_SYS_NICE",
        "CAP_SYS_PACCT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_TIME",
    ];
    let (mut rng, libseccomp) = (generate::seeded(), Libseccomp::new());
    let mut tally = Tally::default();
    for path in packaged() {
        let mut profile: Value =
            serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
        let unknown = remove_unknown(&mut profile, &libseccomp);
        println!("{}: libseccomp does not know {unknown:?}", path.display());
        for (native, arch) in [
            (Arch::X86_64, "amd64"),
            (Arch::I386, "x86"),
            (Arch::Aarch64, "arm64"),
            (Arch::Arm, "arm"),
            (Arch::Riscv64, "riscv64"),
        ] {
            for caps in [&[][..], &["CAP_AUDIT_WRITE", "CAP_SYS_CHROOT"], &ALL] {
                for kernel in [(3, 10), (6, 1)] {
                    let asked = Asked { arch, caps, kernel };
                    compare(&profile, asked, native, &libseccomp, &mut rng, &mut tally);
                }
            }
        }
    }
    println!("{} decisions", tally.decisions);
    assert_eq!(tally.not_kept, 0);
}

/// Takes the names out that libseccomp does not know: runtimes pass over them.
fn remove_unknown(profile: &mut Value, libseccomp: &Libseccomp) -> Vec<String> {
    let mut removed = Vec::new();
    for rule in profile["syscalls"].as_array_mut().expect("rules") {
        let Some(names) = rule["names"].as_array_mut() else { continue };
        let words: Vec<String> = names.iter().map(|name| name.as_str().expect("a name").into()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let known = libseccomp.numbers(Arch::X86_64, &words);
        removed.extend(
            words.iter().zip(&known).filter(|(_, nr)| nr.is_none()).map(|(name, _)| name.to_string()),
        );
        *names =
            words.iter().zip(known).filter(|(_, nr)| nr.is_some()).map(|(name, _)| (*name).into()).collect();
    }
    profile["syscalls"].as_array_mut().expect("rules").retain(|rule| rule["names"] != serde_json::json!([]));
    removed
}

#[test]
fn names_have_libseccomps_numbers() {
    let libseccomp = Libseccomp::new();
    let mut wrong = Vec::new();
    for arch in Arch::ALL.into_iter().filter(|arch| token(*arch).is_some()) {
        let entry = arch.name();
        let (numbers, names): (Vec<_>, Vec<_>) = arch.syscalls().unzip();
        let theirs = libseccomp.numbers(arch, &names);
        let known = theirs.iter().flatten().count();
        assert!(known > 290, "{entry}: libseccomp knows {known}");
        for ((nr, name), theirs) in numbers.iter().zip(names).zip(theirs) {
            // Of what socketcall and ipc do it tells their number there.
            let told = theirs.filter(|_| !(arch == Arch::I386 && is_multiplexed(name)));
            if let Some((.., since)) = LACKS.iter().find(|(of, lacked, _)| (*of, *lacked) == (arch, name)) {
                assert!(told.is_some_and(|theirs| theirs < 0), "libseccomp has {name} of Linux {since}");
            } else if told.is_some_and(|theirs| theirs != *nr) {
                wrong.push(format!("{entry}: the number of {name} is {theirs:?}, here {nr}"));
            }
        }
        // And what it has, we have.
        let bit = if arch == Arch::X32 { X32_SYSCALL_BIT } else { 0 };
        let numbers: Vec<_> = (0..1024).chain(0x000f_0000..0x000f_0100).map(|nr| nr | bit).collect();
        for (nr, theirs) in numbers.iter().zip(libseccomp.names(arch, &numbers)) {
            let Some(theirs) = theirs else { continue };
            if arch.syscall_number(&theirs) != Some(*nr) {
                wrong.push(format!("{entry}: {nr} is {theirs}, here {:?}", arch.syscall_name(*nr)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn generated_profiles_decide_so_on_the_host() {
    if !host::enabled() {
        return;
    }
    let (mut rng, libseccomp) = (generate::seeded(), Libseccomp::new());
    let names = Names::of(&[Arch::X86_64, Arch::I386], &libseccomp);
    let mut decisions = 0;
    for _ in 0..count().div_ceil(10) {
        let mut profile = profiles::profile(&mut rng, &names);
        without_conflicts(&mut profile, &libseccomp);
        let meaning = resolve(&profile, ASKED, Arch::X86_64).unwrap_or_else(|error| panic!("{error:#}"));
        let filter = meaning.compile().expect("it fits");
        let rules = profiles::rules(&profile, ASKED);
        let calls = [Arch::X86_64, Arch::I386].map(|arch| profiles::calls(arch, &rules, &mut rng));
        let calls: Vec<_> = calls.concat().iter().map(host::normalise).collect();
        let expected: Vec<_> = calls.iter().map(|call| meaning.decide(call).0).collect();
        let measured = host::decide(&filter, &calls);
        let wrong = calls.iter().zip(&expected).zip(&measured).find(|((_, expected), got)| expected != got);
        assert!(wrong.is_none(), "{wrong:x?}\n{profile:#}");
        decisions += calls.len();
    }
    println!("{decisions} decisions of the host");
}

/// What a filter costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Its instructions.
    len: usize,
    /// Instructions that all these decisions take together.
    steps: usize,
    /// The most that one takes.
    most: usize,
}

impl Cost {
    fn of(filter: &[SockFilter], calls: &[SeccompData]) -> Self {
        let steps: Vec<_> = calls.iter().map(|call| steps(filter, call)).collect();
        Self {
            len: filter.len(),
            steps: steps.iter().sum(),
            most: steps.into_iter().max().unwrap_or_default(),
        }
    }

    fn row(&self, calls: usize) -> String {
        format!("{} | {:.1} | {}", self.len, self.steps as f64 / calls as f64, self.most)
    }
}

/// How many instructions a decision takes. Only what filters of profiles are made of is run.
fn steps(filter: &[SockFilter], call: &SeccompData) -> usize {
    let (mut pc, mut a, mut memory) = (0, 0u32, [0u32; 16]);
    for step in 1.. {
        let SockFilter { jt, jf, k, .. } = filter[pc];
        pc += 1;
        match Opcode::decode(filter[pc - 1].code).expect("an opcode") {
            Opcode::LdAbs(_) => a = call.word(k).expect("a word"),
            Opcode::LdMem => a = memory[k as usize],
            Opcode::St => memory[k as usize] = a,
            Opcode::Alu(AluOp::And, Source::K) => a &= k,
            Opcode::Ja => pc += k as usize,
            Opcode::Jump(cond, Source::K) => pc += usize::from(if cond.holds(a, k) { jt } else { jf }),
            Opcode::RetK => return step,
            other => panic!("{other:?}"),
        }
    }
    unreachable!("a filter ends")
}

/// Each call of the architecture, with arguments of which most rules hold and of which few do.
fn ordinary(arch: Arch) -> Vec<SeccompData> {
    let bit = if arch == Arch::X32 { 1 << 30 } else { 0 };
    let numbers = (0..600).map(|nr| nr | bit).filter(|nr| arch.syscall_name(*nr).is_some());
    let call = |nr, args| SeccompData { nr, arch: arch.audit_arch(), args, ..SeccompData::default() };
    numbers.flat_map(|nr| [call(nr, [0; 6]), call(nr, [u64::MAX; 6])]).collect()
}

/// Ours, and libseccomp's linear and its tree, for a profile's own architecture.
fn costs(profile: &Value, asked: Asked<'_>, native: Arch, libseccomp: &Libseccomp) -> ([Cost; 3], usize) {
    let default = profiles::action(profile, "defaultAction", "defaultErrnoRet");
    let rules = profiles::rules(profile, asked);
    let arches = profiles::arches(profile, native);
    let calls = ordinary(native);
    let ours = resolve(profile, asked, native).and_then(|meaning| Ok(meaning.compile()?));
    let ours = ours.unwrap_or_else(|error| panic!("{error:#}"));
    let theirs = |optimize| libseccomp.compile(default, &arches, &rules, optimize).filter;
    let filters = [ours, theirs(Optimize::Linear), theirs(Optimize::Tree)];
    (filters.map(|filter| Cost::of(&filter, &calls)), calls.len())
}

#[test]
fn filters_cost_no_more_than_libseccomps_tree() {
    let (mut rng, libseccomp) = (generate::seeded(), Libseccomp::new());
    for path in packaged() {
        let mut profile: Value =
            serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
        remove_unknown(&mut profile, &libseccomp);
        for (native, arch) in [(Arch::X86_64, "amd64"), (Arch::Aarch64, "arm64")] {
            for caps in [&[][..], &["CAP_SYS_ADMIN", "CAP_AUDIT_WRITE"]] {
                let asked = Asked { arch, caps, kernel: (6, 1) };
                let ([ours, linear, tree], calls) = costs(&profile, asked, native, &libseccomp);
                let [ours_row, linear_row, tree_row] = [ours, linear, tree].map(|cost| cost.row(calls));
                println!("{} {arch} {caps:?}\n  | {ours_row} | {linear_row} | {tree_row} |", path.display());
                assert!(ours.len <= tree.len.min(linear.len));
                assert!(ours.steps <= tree.steps && ours.most <= tree.most);
            }
        }
    }
    let arches: Vec<_> = Arch::ALL.into_iter().filter(|arch| token(*arch).is_some()).collect();
    let names = Names::of(&arches, &libseccomp);
    let mut sums = [Cost::default(); 3];
    let mut above = [0; 3];
    for _ in 0..count() {
        let mut profile = profiles::profile(&mut rng, &names);
        without_conflicts(&mut profile, &libseccomp);
        let (costs, _) = costs(&profile, ASKED, Arch::X86_64, &libseccomp);
        for (sum, cost) in sums.iter_mut().zip(costs) {
            sum.len += cost.len;
            sum.steps += cost.steps;
            sum.most += cost.most;
        }
        let [ours, _, tree] = costs;
        above[0] += u64::from(ours.len > tree.len);
        above[1] += u64::from(ours.steps > tree.steps);
        above[2] += u64::from(ours.most > tree.most);
    }
    let rows = sums.map(|cost| cost.row(ordinary(Arch::X86_64).len()));
    println!("{} generated: {rows:?}; above the tree: {above:?}", count());
    let [ours, linear, tree] = sums;
    assert!(ours.len <= tree.len.min(linear.len) && ours.steps <= tree.steps && ours.most <= tree.most);
}
