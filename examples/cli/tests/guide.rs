//! The guide's commands do what it says.
//!
//! `docs/guide/` is one way through several files. All commands in blocks of the language `console` run in order, in one
//! shell that begins in the repository; what they print, errors too, has to be what stands there. `...` stands for any
//! lines and `[..]` for anything in a line. A block below a line that is only "`NAME`:" is saved as that file.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use snapbox::IntoData;
use snapbox::filter::NormalizeToExpected;
use tempfile::TempDir;

const CHAPTERS: [&str; 4] = ["1-first-run", "2-own-profile", "3-own-ebpf-filter", "4-own-kernel"];

/// A chapter in pieces, which together are its text.
enum Piece {
    Text(String),
    File { name: String, text: String },
    Console(Vec<Entry>),
}

/// A command and what it prints.
struct Entry {
    command: String,
    output: String,
}

const FENCE: &str = "```";

fn pieces(chapter: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut lines = chapter.lines();
    let mut text = String::new();
    let mut name = None;
    while let Some(line) = lines.next() {
        text.extend([line, "\n"]);
        let named = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:"));
        let Some(language) = line.strip_prefix(FENCE) else {
            if !line.is_empty() {
                name = named.map(String::from);
            }
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != FENCE).collect();
        if language == "console" {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Console(entries(&block)));
        } else {
            let block: String = block.iter().flat_map(|line| [line, "\n"]).collect();
            match name.take() {
                Some(name) => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::File { name, text: block });
                }
                None => text.push_str(&block),
            }
        }
        text.extend([FENCE, "\n"]);
    }
    pieces.push(Piece::Text(text));
    pieces
}

fn entries(block: &[&str]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), entries.last_mut()) {
            (Some(command), ..) => entries.push(Entry { command: command.into(), output: String::new() }),
            (_, Some(more), Some(entry)) if entry.output.is_empty() => {
                entry.command.extend(["\n", more]);
            }
            (.., Some(entry)) => entry.output.extend([line, "\n"]),
            (.., None) => panic!("{line:?} is printed before any command"),
        }
    }
    entries
}

/// In front of each command's status.
const MARK: &str = "\n\u{1e}";

/// Saves the files and runs the commands.
fn script(chapters: &[Vec<Piece>]) -> String {
    let mut script = String::from("exec 2>&1\n");
    for piece in chapters.iter().flatten() {
        match piece {
            Piece::Text(_) => {}
            Piece::File { name, text } => {
                writeln!(script, "cat > '{name}' <<'END OF FILE'\n{text}END OF FILE").unwrap();
            }
            Piece::Console(entries) => {
                for Entry { command, .. } in entries {
                    writeln!(script, "(exit $last)\n{command}\nlast=$?\nprintf '{MARK}%s\\n' $last").unwrap();
                }
            }
        }
    }
    script
}

/// Runs a script in the repository. The result is what it printed.
fn shell(script: &str, repository: &Path) -> String {
    let tmp = TempDir::new().unwrap();
    let file = tmp.path().join("script");
    fs::write(&file, script).unwrap();
    let cargo = Path::new(env!("CARGO")).parent().unwrap().display();
    let output = Command::new("bash")
        .arg(file)
        .current_dir(repository)
        .env("PATH", format!("{cargo}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("TMPDIR", tmp.path())
        .env("LC_ALL", "C.UTF-8")
        // The guide has the folder that is used without.
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let file = |chapter: &str| repository.join("docs/guide").join(chapter).with_extension("md");
    let chapters = CHAPTERS.map(|chapter| pieces(&fs::read_to_string(file(chapter)).expect(chapter)));
    let printed = shell(&script(&chapters), &repository);
    // A status stands in front of what the next command prints.
    let mut parts = printed.split(MARK);
    let mut output = parts.next().unwrap_or_default();
    let mut failed = None;
    let (mut commands, mut wrong) = (0, String::new());
    for (chapter, pieces) in CHAPTERS.iter().zip(&chapters) {
        let mut rewritten = String::new();
        for piece in pieces {
            let Piece::Console(entries) = piece else {
                let (Piece::Text(text) | Piece::File { text, .. }) = piece else { continue };
                rewritten.push_str(text);
                continue;
            };
            for Entry { command, output: expected } in entries {
                commands += 1;
                if let Some(status) = failed.take().filter(|_| command != "echo $?") {
                    writeln!(wrong, "{chapter}: the command before `{command}` ended with {status}").unwrap();
                }
                let expected = expected.as_str().into_data();
                let printed = NormalizeToExpected::new().redact().normalize(output.into_data(), &expected);
                if printed != expected {
                    writeln!(wrong, "{chapter}: `{command}` printed\n{printed}where it says\n{expected}")
                        .unwrap();
                }
                let command = command.replace('\n', "\n> ");
                write!(rewritten, "$ {command}\n{printed}").unwrap();
                let part = parts.next().unwrap_or_else(|| panic!("the shell ended in `{command}`: {output}"));
                let status;
                (status, output) = part.split_once('\n').expect("a line with a status");
                failed = Some(status).filter(|status| *status != "0");
            }
        }
        if env::var("SECCOMP_WRITE_GUIDE").is_ok_and(|value| value == "1") {
            fs::write(file(chapter), rewritten).unwrap();
        }
    }
    assert!(wrong.is_empty() && failed.is_none(), "{wrong}{failed:?}");
    assert!(commands > 30, "{commands} commands");
}

#[test]
fn pieces_are_the_whole_text() {
    let chapter =
        "Text\n\n`a.txt`:\n\n```text\n$ no command\n```\n\n```console\n$ a\n> b\n1\n> 2\n$ c\n```\nend\n";
    let pieces = pieces(chapter);
    let [
        Piece::Text(_),
        Piece::File { name, text },
        Piece::Text(_),
        Piece::Console(entries),
        Piece::Text(end),
    ] = pieces.as_slice()
    else {
        panic!("{} pieces", pieces.len())
    };
    assert_eq!((name.as_str(), text.as_str(), end.as_str()), ("a.txt", "$ no command\n", "```\nend\n"));
    let [first, second] = entries.as_slice() else { panic!("{} commands", entries.len()) };
    assert_eq!((first.command.as_str(), first.output.as_str()), ("a\nb", "1\n> 2\n"));
    assert_eq!((second.command.as_str(), second.output.as_str()), ("c", ""));
}
