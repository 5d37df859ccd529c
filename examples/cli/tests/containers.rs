//! What `record` writes inside a container starts that container, under runc and the host's own seccomp.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[expect(dead_code, reason = "containers carry the programs")]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use common::{Ended, ended};

/// What the container runs.
const SCRIPT: &str = "sort names.txt; exit 7";

/// The host's folders with programs, some of which are links.
const HOST: [&str; 4] = ["/bin", "/lib", "/lib64", "/usr"];

/// What Go's runtime calls at times, and no run shows all of.
const AT_TIMES: [&str; 9] = [
    "epoll_pwait",
    "futex",
    "madvise",
    "mmap",
    "munmap",
    "nanosleep",
    "rt_sigreturn",
    "sched_yield",
    "tgkill",
];

/// A container that has the host's programs and this command.
struct Bundle {
    folder: TempDir,
    no_new_privs: bool,
}

impl Bundle {
    fn new(no_new_privs: bool) -> Self {
        let bundle = Self { folder: TempDir::new().unwrap(), no_new_privs };
        let rootfs = bundle.path("rootfs");
        for name in ["dev", "proc", "work"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        let work = bundle.path("rootfs/work");
        fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(work.join("names.txt"), "Grace\nAda\n").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_seccomp-rbpf"), rootfs.join("seccomp-rbpf")).unwrap();
        for path in HOST {
            match fs::read_link(path) {
                Ok(target) => symlink(target, rootfs.join(&path[1..])).unwrap(),
                Err(_) => fs::create_dir(rootfs.join(&path[1..])).unwrap(),
            }
        }
        bundle
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The container, as one that is started by `command`.
    fn run(&self, command: &mut Command, words: &[&str], seccomp: Option<&Value>) -> Ended {
        let mut mounts = vec![json!({ "destination": "/proc", "source": "proc", "type": "proc" })];
        for path in HOST.into_iter().filter(|path| !Path::new(path).is_symlink()) {
            let options = ["rbind", "ro"];
            mounts.push(json!({ "destination": path, "source": path, "type": "bind", "options": options }));
        }
        let caps = json!(["CAP_KILL"]);
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "args": words,
                "cwd": "/work",
                "env": ["PATH=/usr/bin:/bin", "LC_ALL=C"],
                // An ordinary user, so that one is changed to.
                "user": { "uid": 1000, "gid": 1000, "additionalGids": [5] },
                "capabilities": { "bounding": caps, "permitted": caps, "effective": caps },
                "noNewPrivileges": self.no_new_privs,
            },
            "root": { "path": "rootfs" },
            "mounts": mounts,
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
        });
        if let Some(seccomp) = seccomp {
            config["linux"]["seccomp"] = seccomp.clone();
        }
        fs::write(self.path("config.json"), config.to_string()).unwrap();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("record-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        ended(command.args(["runc", "run", "--bundle"]).arg(self.folder.path()).arg(name))
    }

    /// The container on its own.
    fn start(&self, words: &[&str], seccomp: Option<&Value>) -> Ended {
        self.run(&mut Command::new("env"), words, seccomp)
    }

    /// Under a profile.
    fn starts_under(&self, profile: &Value) -> bool {
        let Ended { stdout, status, .. } = self.start(&["sh", "-c", SCRIPT], Some(profile));
        (stdout.as_str(), status) == ("Ada\nGrace\n", 7)
    }

    /// The profile that is recorded inside.
    fn record(&self, options: &[&str]) -> Value {
        let mut words = vec!["/seccomp-rbpf", "record", "-o", "profile.json"];
        words.extend(options);
        words.extend(["--", "sh", "-c", SCRIPT]);
        let recorded = self.start(&words, None);
        let expected = Ended { stdout: "Ada\nGrace\n".into(), stderr: String::new(), status: 7 };
        assert_eq!(recorded, expected, "is runc there?");
        serde_json::from_slice(&fs::read(self.path("rootfs/work/profile.json")).unwrap()).unwrap()
    }

    /// What runc calls between the filter and the program, by strace.
    fn straced(&self) -> BTreeSet<String> {
        let log = self.path("log");
        // Every call is made.
        let profile = json!({
            "defaultAction": "SCMP_ACT_LOG",
            "syscalls": [{ "names": ["getppid"], "action": "SCMP_ACT_ALLOW" }],
        });
        let mut strace = Command::new("strace");
        let ended = self.run(strace.args(["-f", "-o"]).arg(&log), &["sh", "-c", "exit 3"], Some(&profile));
        assert_eq!(ended.status, 3, "{}", ended.stderr);
        let log = fs::read_to_string(log).unwrap();
        let mut lines = log.lines().filter_map(|line| line.split_once(' ')).skip_while(|(_, line)| {
            !line.trim_start().starts_with("prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER")
        });
        let (thread, _) = lines.next().expect("the filter was installed");
        let mut calls = BTreeSet::new();
        for (_, line) in lines.filter(|(other, _)| *other == thread) {
            let Some((call, _)) = line.trim_start().split_once('(') else { continue };
            if call.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_') {
                calls.insert(call.to_owned());
            }
            if call == "execve" {
                return calls;
            }
        }
        panic!("the program was not started");
    }
}

fn names(profile: &Value) -> BTreeSet<String> {
    serde_json::from_value(profile["syscalls"][0]["names"].clone()).unwrap()
}

fn without(profile: &Value, name: &str) -> Value {
    let mut profile = profile.clone();
    profile["syscalls"][0]["names"].as_array_mut().unwrap().retain(|other| other != name);
    profile
}

/// The container starts under what was recorded in it, and does not where a call is left out that runc or the program
/// makes.
fn check(starter: &str, no_new_privs: bool) {
    let bundle = Bundle::new(no_new_privs);
    // Some calls depend on time: what sort needs comes together in several runs.
    let mut profile = bundle.record(&["--for", starter]);
    for _ in 0..3 {
        profile = bundle.record(&["--for", starter, "--merge", "profile.json"]);
    }
    for _ in 0..10 {
        assert!(bundle.starts_under(&profile), "{starter}: {profile:#}");
    }
    // As runc's own calls are seen from outside.
    let mut straced = BTreeSet::new();
    for _ in 0..3 {
        straced.extend(bundle.straced());
    }
    let named = names(&profile);
    assert!(straced.is_subset(&named), "{starter}: {:?}", straced.difference(&named));
    let program = names(&bundle.record(&[]));
    let of_runc: BTreeSet<_> = named.difference(&program).cloned().collect();
    let needless: Vec<_> =
        of_runc.difference(&straced).filter(|name| !AT_TIMES.contains(&name.as_str())).collect();
    assert!(needless.is_empty(), "{starter}: {needless:?}");
    // Where a denied call is fatal.
    let mut fatal = profile;
    fatal["defaultAction"] = "SCMP_ACT_KILL_PROCESS".into();
    fatal.as_object_mut().unwrap().remove("defaultErrnoRet");
    assert!(bundle.starts_under(&fatal), "{starter}");
    for name in straced.iter().filter(|name| !AT_TIMES.contains(&name.as_str())) {
        assert!(!bundle.starts_under(&without(&fatal, name)), "{starter}: {name} is not needed");
    }
}

#[test]
fn a_recorded_profile_starts_its_container() {
    check("runc", false);
}

#[test]
fn a_recorded_profile_starts_its_container_without_new_privileges() {
    check("runc-no-new-privs", true);
}

/// The greater list is for both.
#[test]
fn one_profile_is_for_containers_with_and_without_new_privileges() {
    let profile = Bundle::new(false).record(&["--for", "runc"]);
    let bundle = Bundle::new(true);
    assert!(bundle.starts_under(&profile));
}
