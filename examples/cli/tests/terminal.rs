//! What a terminal gets and nothing else does: colours, and bars for what lasts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fs, str};

use tempfile::TempDir;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

/// The command without what the environment says of colours.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").stdin(Stdio::null());
    command
}

fn piped(arguments: &[&str], variable: Option<&str>) -> Output {
    let mut command = plain(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    command.args(arguments).envs(variable.map(|name| (name, "1"))).output().unwrap()
}

/// What a terminal shows of a command, with what the shell makes of `redirected`.
fn on_terminal(arguments: &[&str], redirected: &str, variable: Option<&str>) -> String {
    let quoted: Vec<_> = arguments.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let line = format!("exec {} {} {redirected}", env!("CARGO_BIN_EXE_seccomp-rbpf"), quoted.join(" "));
    let mut script = plain("script");
    script.args(["-q", "-c", &line, "/dev/null"]).envs(variable.map(|name| (name, "1")));
    let output = script.output().expect("script, of bsdutils");
    // A terminal begins each line anew.
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

/// Without colours and weights.
fn stripped(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut all = parts.next().unwrap().to_owned();
    for part in parts {
        let (style, rest) = part.split_once('m').expect("a style ends");
        assert!(style.chars().all(|c| c.is_ascii_digit() || c == ';'), "{style:?} is no style");
        all.push_str(rest);
    }
    all
}

/// Whatever lines they are on: those of lists are a terminal's.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn terminals_get_colours_and_nothing_else_does() {
    let [deny, kill] = ["deny-mkdir.bpfasm", "kill-socket.bpfasm"].map(case);
    let (deny, kill) = (deny.to_str().unwrap(), kill.to_str().unwrap());
    let commands: [&[&str]; 7] = [
        &["check", deny, kill],
        &["table", deny],
        &["diff", deny, kill],
        &["plan", deny, "--nr", "mkdir"],
        &["eval", deny, "--nr", "mkdir"],
        &["explain", deny, kill, "--nr", "mkdir"],
        &["check", "/nowhere"],
    ];
    for arguments in commands {
        let Output { stdout, stderr, .. } = piped(arguments, None);
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(!text.contains('\x1b'), "{text:?}");

        let shown = on_terminal(arguments, "", None);
        assert!(shown.contains("\x1b["), "{shown:?}");
        assert_eq!(words(&stripped(&shown)), words(&text));
        assert_eq!(on_terminal(arguments, "", Some("NO_COLOR")), stripped(&shown));

        let Output { stdout, stderr, .. } = piped(arguments, Some("CLICOLOR_FORCE"));
        let coloured = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert_eq!(stripped(&coloured), text);
        assert_eq!(words(&coloured), words(&shown));
    }
    for arguments in [&["table", deny, "--json"], &["diff", deny, "--json"], &["graph", deny, "--json"]] {
        let arguments =
            if arguments[0] == "diff" { vec!["diff", deny, kill, "--json"] } else { arguments.to_vec() };
        let shown = on_terminal(&arguments, "", None);
        assert_eq!(shown.as_bytes(), piped(&arguments, None).stdout);
        assert_eq!(piped(&arguments, Some("CLICOLOR_FORCE")).stdout, shown.as_bytes());
    }
}

#[test]
fn names_say_nothing_to_a_terminal() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a\x1b]0;title\x07\x1b[31mb.bpfasm");
    fs::copy(case("deny-mkdir.bpfasm"), &path).unwrap();
    let (path, other) = (path.to_str().unwrap(), case("kill-socket.bpfasm"));
    let other = other.to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["check", path, path],
        &["diff", path, other],
        &["eval", path, other, "--nr", "mkdir"],
        &["explain", path, other, "--nr", "mkdir"],
        &["table", path],
    ];
    for arguments in commands {
        let shown = piped(arguments, None).stdout;
        let shown = str::from_utf8(&shown).unwrap();
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert!(
            arguments[0] == "table" || shown.contains("a\\u{1b}]0;title\\u{7}\\u{1b}[31mb.bpfasm"),
            "{shown:?}"
        );
    }
}

/// A profile's names are text of somebody else's too.
#[test]
fn rules_say_nothing_to_a_terminal() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("profile.json");
    let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls":
        [{"names": ["mkdir", "\u001b[31mx"], "action": "SCMP_ACT_ALLOW"}]}"#;
    fs::write(&path, profile).unwrap();
    let shown = piped(&["explain", path.to_str().unwrap(), "--nr", "mkdir"], None).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("mkdir \\u{1b}[31mx") && !shown.contains('\x1b'), "{shown}");
}

#[test]
fn a_bar_appears_after_a_second_and_goes() {
    let shown = on_terminal(&["bench", "--quick"], "> /dev/null", None);
    assert!(shown.contains("measuring, "), "{shown:?}");
    // The last that is done to the line is to empty it.
    let end = shown.rsplit_once("measuring, ").unwrap().1;
    assert!(end.contains("\x1b[2K") || end.contains("\x1b[K"), "{end:?}");
    let after = end.rsplit_once('K').unwrap().1;
    assert!(after.trim().is_empty(), "{after:?}");
}

/// Of a file, how much is read is known.
#[test]
fn a_batch_has_a_bar_unless_its_answers_are_shown() {
    let folder = TempDir::new().unwrap();
    let calls = folder.path().join("calls");
    fs::write(&calls, "c000003e 83 0 0 0 0 0 0 0\n".repeat(1_500_000)).unwrap();
    let (deny, calls) = (case("deny-mkdir.bpfasm"), calls.to_str().unwrap());
    let arguments = ["eval", deny.to_str().unwrap(), "--batch", calls, "--engine", "all"];
    let shown = on_terminal(&arguments, "> /dev/null", None);
    assert!(shown.contains("deciding [") && shown.contains("MiB"), "{shown:?}");
}

#[test]
fn what_is_done_at_once_has_no_bar() {
    let deny = case("deny-mkdir.bpfasm");
    for command in ["table", "plan"] {
        assert_eq!(on_terminal(&[command, deny.to_str().unwrap()], "> /dev/null", None), "");
    }
}

/// A terminal's width is where lists end; a pipe and a file get lists whole, and no colours.
#[test]
fn lists_are_wrapped_for_terminals() {
    let folder = TempDir::new().unwrap();
    let [deny, kill] = ["deny-mkdir.bpfasm", "kill-socket.bpfasm"].map(case);
    let (deny, kill) = (deny.to_str().unwrap(), kill.to_str().unwrap());
    // Every number, with few in between.
    let allow = folder.path().join("odd.bpfasm");
    fs::write(&allow, "ld [0]\njset #1, odd\nret #SECCOMP_RET_ALLOW\nodd: ret #SECCOMP_RET_LOG\n").unwrap();
    let odd = allow.to_str().unwrap();
    for arguments in [&["table", deny][..], &["diff", odd, kill]] {
        let whole = String::from_utf8(piped(arguments, None).stdout).unwrap();
        let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest(&whole) > 500, "{whole}");
        // `script` asks nobody for a size.
        let shown = on_terminal(arguments, "", Some("NO_COLOR"));
        let narrow = on_sized_terminal(40, arguments);
        for (shown, columns) in [(&shown, 100), (&narrow, 40)] {
            assert_eq!(words(shown), words(&whole));
            let in_words = |line: &str| line.contains("shown by") || line.contains(" unless ");
            let lists = shown.lines().filter(|line| line.starts_with("  ") && !in_words(line));
            let lists: Vec<_> = lists.collect();
            assert!(lists.len() > 3, "{shown}");
            let longest = longest(&lists.join("\n"));
            assert!(longest <= columns && longest > columns - 25, "{longest} of {columns}: {shown}");
        }
    }
    // A file that is named is one, whatever standard output is.
    let file = folder.path().join("table");
    let file = file.to_str().unwrap();
    for colours in [None, Some("CLICOLOR_FORCE")] {
        assert_eq!(on_terminal(&["table", deny, "-o", file], "", colours), "");
        assert_eq!(fs::read(file).unwrap(), piped(&["table", deny], None).stdout);
    }
    assert_eq!(on_terminal(&["table", deny, "-o", "-"], "", None), on_terminal(&["table", deny], "", None));
}

/// What a terminal of so many columns shows.
fn on_sized_terminal(columns: u32, arguments: &[&str]) -> String {
    let line = format!("stty cols {columns} rows 24; exec {} \"$@\"", env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let quoted: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("sh -c '{line}' sh {}", quoted.join(" "));
    let mut script = plain("script");
    script.args(["-q", "-c", &line, "/dev/null"]).env("NO_COLOR", "1");
    String::from_utf8(script.output().unwrap().stdout).unwrap().replace("\r\n", "\n")
}
