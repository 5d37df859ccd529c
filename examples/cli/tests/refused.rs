//! Profiles that runc starts no container with are refused, and what it takes is taken.

mod invoke;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use seccomp_kernel::Arch;
use seccomp_rbpf::profile::{Machine, Profile};
use seccomp_tests::profiles::Runc;
use seccomp_tests::{generate, host};
use serde_json::{Value, json};
use tempfile::TempDir;

use invoke::{command, file};

/// What is said of a profile.
enum Said {
    /// Nothing: runc takes it too.
    Fine,
    /// It is an error, as it is for runc.
    Refused(&'static str),
    /// It is a warning, and an error with `--strict`: runc refuses it, and the filter is good for others.
    Strict(&'static str),
    /// It is an error, and runc looks away.
    Stricter(&'static str),
}

use Said::{Fine, Refused, Strict, Stricter};

/// Profiles with these rules and keys that allow the rest.
fn rows(listener: &str) -> Vec<(Value, Said)> {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let of = |name: &str, action: &str| json!({"names": [name], "action": format!("SCMP_ACT_{action}")});
    let with = |mut object: Value, key: &str, value: Value| {
        object[key] = value;
        object
    };
    let errno = |action: &str, errno: u32| rule(with(of("mkdir", action), "errnoRet", errno.into()));
    let arg = |index: u32, op: &str| {
        let arg = json!({"index": index, "value": 0, "op": op});
        rule(with(of("mkdir", "KILL"), "args", json!([arg])))
    };
    let arches = |names: &[&str]| with(rule(of("mkdir", "KILL")), "architectures", json!(names));
    let all: Vec<_> = (0..600).filter_map(|nr| Arch::X86_64.syscall_name(nr)).collect();
    let default = |action: &str, errno: u32| {
        json!({"defaultAction": action, "defaultErrnoRet": errno,
            "syscalls": [{"names": all, "action": "SCMP_ACT_ALLOW"}]})
    };
    let notify = |name: &str| rule(of(name, "NOTIFY"));
    let listening = |profile: Value| with(profile, "listenerPath", listener.into());
    let above = "is above 4094, the highest that libseccomp takes";
    let order = "has another byte order than x86_64, and libseccomp refuses both in one filter";
    vec![
        (errno("ERRNO", 0), Fine),
        (errno("ERRNO", 4094), Fine),
        (errno("ERRNO", 4095), Refused(above)),
        (errno("ERRNO", 12345), Refused(above)),
        (errno("ERRNO", 65537), Stricter(above)),
        (errno("TRACE", 12345), Fine),
        (errno("TRACE", 65535), Fine),
        (errno("KILL", 3), Stricter("the action is neither SCMP_ACT_ERRNO nor SCMP_ACT_TRACE")),
        (default("SCMP_ACT_ERRNO", 4094), Fine),
        (default("SCMP_ACT_ERRNO", 4095), Refused("defaultAction: errno 4095 is above 4094")),
        (default("SCMP_ACT_TRACE", 4095), Fine),
        (notify("write"), Refused("syscalls[0]: SCMP_ACT_NOTIFY for write, which runc refuses")),
        (listening(notify("write")), Refused("syscalls[0]: SCMP_ACT_NOTIFY for write, which runc refuses")),
        (notify("mkdir"), Strict("syscalls[0]: SCMP_ACT_NOTIFY, and listenerPath is not set")),
        (with(notify("mkdir"), "listenerPath", "".into()), Strict("listenerPath is not set")),
        (listening(notify("mkdir")), Fine),
        (
            listening(json!({"defaultAction": "SCMP_ACT_NOTIFY", "syscalls": [of("read", "ALLOW")]})),
            Refused("defaultAction: SCMP_ACT_NOTIFY, which runc refuses there"),
        ),
        (rule(of("", "KILL")), Refused("syscalls[0]: a name is empty")),
        (rule(json!({"names": [], "action": "SCMP_ACT_KILL"})), Stricter("syscalls[0]: names is empty")),
        (arg(5, "SCMP_CMP_EQ"), Fine),
        (arg(6, "SCMP_CMP_EQ"), Refused("syscalls[0]: args[0]: index 6, where")),
        (arg(0, "SCMP_CMP_XX"), Refused("SCMP_CMP_XX")),
        (rule(of("mkdir", "XX")), Refused("SCMP_ACT_XX")),
        (arches(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]), Fine),
        (arches(&["SCMP_ARCH_X86", "SCMP_ARCH_X86"]), Fine),
        (arches(&["SCMP_ARCH_S390X"]), Refused(order)),
        (arches(&["SCMP_ARCH_X86", "SCMP_ARCH_MIPS"]), Refused(order)),
        (arches(&["SCMP_ARCH_PPC64"]), Refused(order)),
        (arches(&["SCMP_ARCH_XX"]), Refused("architectures[0]: \"SCMP_ARCH_XX\" is no architecture")),
        (with(rule(of("mkdir", "KILL")), "flags", json!(["X"])), Refused("flags: \"X\" is no flag")),
        (with(rule(of("mkdir", "KILL")), "listenerPath", json!(7)), Refused("invalid type: integer `7`")),
    ]
}

#[test]
fn what_runc_refuses_is_refused_by_name() {
    if !host::enabled() {
        return;
    }
    let (runc, folder) = (Runc::new(), TempDir::new().unwrap());
    for (profile, said) in rows(runc.listener().to_str().expect("UTF-8")) {
        let verdict = runc.start(&profile);
        assert_eq!(verdict.is_ok(), matches!(said, Fine | Stricter(_)), "{verdict:?} {profile:#}");
        let path = file(&folder, "profile.json", profile.to_string());
        for (strict, name) in
            [false, true].into_iter().flat_map(|strict| [(strict, "check"), (strict, "compile")])
        {
            let mut command = command(name);
            let options: &[&str] = if strict { &["--strict"] } else { &[] };
            let output = command.arg(&path).args(options).output().expect("it runs");
            let told = String::from_utf8(output.stderr).expect("UTF-8");
            let (fails, words) = match said {
                Fine => (false, ""),
                Refused(words) | Stricter(words) => (true, words),
                Strict(words) => (strict, words),
            };
            assert_eq!(output.status.code(), Some(if fails { 2 } else { 0 }), "{told}{profile:#}");
            assert!(told.contains(words) && told.lines().count() == usize::from(!words.is_empty()), "{told}");
        }
    }
}

/// A profile of which most things are right. It lets the container's program run, so that it fails of itself only.
fn profile(rng: &mut SmallRng, listener: &str) -> Value {
    const NAMES: [&str; 10] = [
        "mkdir",
        "rmdir",
        "sethostname",
        "ptrace",
        "kexec_load",
        "mount",
        "swapon",
        "acct",
        "reboot",
        "no_such_call",
    ];
    const ACTIONS: [&str; 8] = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG", "NOTIFY"];
    const ARCHES: [&str; 12] = [
        "X86_64", "X86", "X32", "ARM", "AARCH64", "MIPSEL", "MIPSEL64", "PPC64LE", "MIPS", "PPC", "S390",
        "S390X",
    ];
    const ERRNOS: [u32; 7] = [0, 1, 38, 4094, 4095, 4096, 0xffff];
    const OPS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let seldom = |rng: &mut SmallRng| rng.random_ratio(1, 12);
    let mut names = NAMES;
    names.shuffle(rng);
    let count = rng.random_range(1..5);
    let rules = names[..count].iter().map(|name| {
        let is_known = *name != "no_such_call";
        let action = *ACTIONS.choose(rng).expect("there are some");
        let name = if seldom(rng) { *["write", ""].choose(rng).expect("two") } else { name };
        let mut rule = json!({"names": [name], "action": format!("SCMP_ACT_{action}")});
        // What is wrong with a rule for what it does not know, runc does not see.
        if matches!(action, "ERRNO" | "TRACE") && is_known && !name.is_empty() && rng.random() {
            rule["errnoRet"] = (*ERRNOS.choose(rng).expect("there are some")).into();
        }
        if is_known && action != "NOTIFY" && rng.random() {
            // Nor of one that says what the default does, which these never do.
            let differs = matches!(action, "KILL" | "KILL_PROCESS" | "TRAP");
            let index = if differs && seldom(rng) { 6 } else { rng.random_range(0..6) };
            let op = if seldom(rng) { "XX" } else { OPS.choose(rng).expect("there are some") };
            rule["args"] =
                json!([{"index": index, "value": 1 << 20, "valueTwo": 0, "op": format!("SCMP_CMP_{op}")}]);
        }
        // runc itself writes, when all is ready.
        if name == "write" && action != "NOTIFY" {
            rule = json!({"names": [name], "action": "SCMP_ACT_LOG"});
        }
        rule
    });
    let mut rules: Vec<_> = rules.collect();
    let mut profile = json!({"defaultAction": *["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"].choose(rng).expect("two")});
    match rng.random_range(0..12) {
        0 => profile["defaultAction"] = "SCMP_ACT_NOTIFY".into(),
        1..4 => {
            profile["defaultAction"] =
                (*["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"].choose(rng).expect("two")).into();
            profile["defaultErrnoRet"] = (*ERRNOS.choose(rng).expect("there are some")).into();
            let taken = |name: &&str| !NAMES.contains(name) && *name != "write";
            let all: Vec<_> = (0..600).filter_map(|nr| Arch::X86_64.syscall_name(nr)).filter(taken).collect();
            rules.push(json!({"names": all, "action": "SCMP_ACT_ALLOW"}));
            if !rules.iter().any(|rule| rule["names"][0] == "write") {
                rules.push(json!({"names": ["write"], "action": "SCMP_ACT_ALLOW"}));
            }
        }
        _ => {}
    }
    if rng.random_ratio(1, 3) {
        let few = rng.random_range(1..4);
        profile["architectures"] =
            ARCHES.choose_multiple(rng, few).map(|arch| format!("SCMP_ARCH_{arch}")).collect();
    }
    if rng.random_ratio(3, 4) {
        profile["listenerPath"] = listener.into();
    }
    profile["syscalls"] = rules.into();
    profile
}

#[test]
fn generated_profiles_are_refused_where_runc_refuses_them() {
    if !host::enabled() {
        return;
    }
    let (mut rng, runc) = (generate::seeded(), Runc::new());
    let machine = Machine {
        arch: Arch::X86_64,
        caps: Machine::DOCKER_CAPS.map(String::from).into(),
        kernel: "6.1".parse().expect("a version"),
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..150 {
        let profile = profile(&mut rng, runc.listener().to_str().expect("UTF-8"));
        let theirs = runc.start(&profile);
        let text = profile.to_string();
        let ours = Profile::parse(text.as_bytes()).and_then(|profile| profile.resolve(&machine));
        let listens = |warning: &String| warning.contains("listenerPath");
        match (&ours, &theirs) {
            (Ok(meaning), Ok(())) => {
                assert!(!meaning.warnings().iter().any(listens), "{:?} {profile:#}", meaning.warnings());
                taken += 1;
            }
            (Ok(meaning), Err(theirs)) => {
                // The filter is good for whoever has a listener.
                assert!(theirs.contains("listenerPath is not set"), "{theirs} {profile:#}");
                assert!(meaning.warnings().iter().any(listens), "{:?} {profile:#}", meaning.warnings());
                refused += 1;
            }
            (Err(_), Err(_)) => refused += 1,
            (Err(ours), Ok(())) => panic!("runc takes it: {ours:#} {profile:#}"),
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 20 && refused > 20, "{taken} {refused}");
}
