//! Programs of others that install filters: under `run` they print and end as they do without it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use common::{Ended, compile, ended, run};

/// Refuses to install any filter, and allows all else: also to ask what there is to install, which libraries do
/// with a null pointer.
const NO_FILTERS: &str = "
        ld [0]                          ; nr
        jeq #prctl, prctl
        jne #seccomp, allow
        ld [16]                         ; operation
        jne #1, allow                   ; SECCOMP_SET_MODE_FILTER
        ld [32]                         ; program
        jne #0, refuse
        ld [36]
        jne #0, refuse
allow:  ret #SECCOMP_RET_ALLOW
prctl:  ld [16]                         ; option
        jne #22, allow                  ; PR_SET_SECCOMP
refuse: ret #SECCOMP_RET_ERRNO|1        ; EPERM
";

/// A client, with `script` to start it: its folder is `$1`.
struct Client {
    dir: TempDir,
    script: &'static str,
}

impl Client {
    fn new(script: &'static str) -> Self {
        Self { dir: TempDir::new().unwrap(), script }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    fn ended(&self, mut command: Command) -> Ended {
        ended(command.args(["-c", self.script, "sh"]).arg(self.dir.path()))
    }

    fn under_run(&self, options: &[&str]) -> Ended {
        let mut command = run(options);
        command.arg("sh");
        self.ended(command)
    }

    /// It ends the same with each engine, and installs at least so many filters, without which it would end
    /// otherwise.
    fn is_same(&self, filters: usize) -> Ended {
        let without = self.ended(Command::new("sh"));
        let trace = self.path("trace");
        for engine in ["jit", "interpreter", "native"] {
            let with = self.under_run(&["--engine", engine, "--trace", trace.to_str().unwrap()]);
            assert_eq!((&with.stdout, with.status), (&without.stdout, without.status), "{}", with.stderr);
        }
        let installed = installed(&trace);
        assert!(installed >= filters, "{installed} filters");
        let no_filters = self.path("no-filters.bpfasm");
        fs::write(&no_filters, NO_FILTERS).unwrap();
        let refused = self.under_run(&["--filter", no_filters.to_str().unwrap()]);
        assert_ne!((&refused.stdout, refused.status), (&without.stdout, without.status));
        without
    }
}

/// How many calls in a trace install a filter.
fn installed(trace: &Path) -> usize {
    let trace = fs::read_to_string(trace).unwrap();
    let installs = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        match (words[1], words[5], words[6], words[7]) {
            ("seccomp", "1", _, program) => program != "0",
            ("prctl", "16", "2", _) => true,
            _ => false,
        }
    };
    trace.lines().filter(installs).count()
}

#[test]
fn libseccomp() {
    let client = Client::new("ulimit -c 0; \"$1/libseccomp-m64\"");
    compile(client.dir.path(), "libseccomp", "-m64", &["-lseccomp"]);
    let ended = client.is_same(2);
    assert_eq!(ended.status, 5);
    for line in
        ["denied: -1 Invalid cross-device link", "ended: 1f", "answered: 42 ", "continued: 1 ", "ended: 300"]
    {
        assert!(ended.stdout.lines().any(|printed| printed == line), "{line}\n{}", ended.stdout);
    }
}

#[test]
fn bubblewrap_with_a_filter() {
    let script = "bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all --seccomp 9 \
                  sh -c 'mkdir /tmp/never-made 2>&1; echo $?; exit 3' 9<\"$1/filter\"";
    let client = Client::new(script);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/deny-mkdir.bpfasm");
    let mut assemble = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    assemble.args(["assemble"]).arg(source);
    let client = client.with("filter", assemble.output().unwrap().stdout);
    let ended = client.is_same(1);
    assert_eq!(ended.status, 3);
    assert!(ended.stdout.ends_with("Operation not permitted\n1\n"), "{}", ended.stdout);
}

#[test]
fn man() {
    let page =
        ".TH PAGE 1 2024-01-01\n.SH NAME\npage \\- of a manual\n.SH DESCRIPTION\nText in \\fBbold\\fR.\n";
    let ended = Client::new("man -l \"$1/page.1\"").with("page.1", page).is_same(3);
    assert_eq!(ended.status, 0);
    assert!(ended.stdout.contains("page - of a manual"), "{}", ended.stdout);
}

/// The helper of apt that copies files, a process of its own that apt talks to.
#[test]
fn a_method_of_apt() {
    let script = "{ printf '601 Configuration\\nConfig-Item: APT::Sandbox::Seccomp=true\\n'; \
                  printf 'Config-Item: APT::Sandbox::User=root\\n\\n'; \
                  printf '600 URI Acquire\\nURI: copy:%s\\nFilename: %s\\n\\n' \"$1/from\" \"$1/to\"; } | \
                  /usr/lib/apt/methods/copy; echo $?; cat \"$1/to\"";
    let ended = Client::new(script).with("from", "content\n").is_same(1);
    assert!(ended.stdout.ends_with("\n0\ncontent\n"), "{}", ended.stdout);
}

#[test]
fn bindings_of_python() {
    let script = "
import errno, os, seccomp, sys, threading
filter = seccomp.SyscallFilter(seccomp.ALLOW)
filter.set_attr(seccomp.Attr.CTL_TSYNC, 1)
filter.add_rule(seccomp.ERRNO(errno.EXDEV), 'chdir')
filter.add_rule(seccomp.ERRNO(errno.EDOM), 'write', seccomp.Arg(0, seccomp.EQ, 2))
filter.load()
def denied(call, *args):
    try:
        call(*args)
    except OSError as error:
        print(error)
denied(os.chdir, '/')
denied(os.write, 2, b'x')
thread = threading.Thread(target=denied, args=(os.chdir, '/'))
thread.start()
thread.join()
sys.exit(7)
";
    // The interpreter that Debian's package is for.
    let client = Client::new("/usr/bin/python3 \"$1/script.py\"").with("script.py", script);
    let ended = client.is_same(1);
    assert_eq!(ended.status, 7, "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("Invalid cross-device link").count(), 2, "{}", ended.stdout);
}

/// A login. The part of the server that talks to whoever has not said who he is has a filter; it goes without if
/// there are none, so that is not tried.
#[test]
fn a_login_at_sshd() {
    let keys = "cd \"$1\" && ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f user && \
                printf 'HostKey %s/host\\nAuthorizedKeysFile %s/user.pub\\n' \"$1\" \"$1\" > config && \
                printf 'UsePAM no\\nStrictModes no\\nPermitRootLogin yes\\n' >> config && mkdir -p -m 755 /run/sshd";
    let login = "cd \"$1\" && echo input | ssh -F none -T -i user -o BatchMode=yes -o LogLevel=ERROR \
                 -o UserKnownHostsFile=known -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes \
                 -o ProxyCommand='/usr/sbin/sshd -i -e -f config' root@localhost 'cat; echo $((6 * 7)); exit 5'";
    let made = Client::new(keys);
    assert_eq!(made.ended(Command::new("sh")).status, 0);
    let client = Client { script: login, ..made };
    let without = client.ended(Command::new("sh"));
    assert_eq!((without.stdout.as_str(), without.status), ("input\n42\n", 5), "{}", without.stderr);
    let trace = client.path("trace");
    let with = client.under_run(&["--trace", trace.to_str().unwrap()]);
    assert_eq!((&with.stdout, with.status), (&without.stdout, without.status), "{}", with.stderr);
    assert_eq!(installed(&trace), 1);
}
