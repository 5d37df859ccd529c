//! The page of `table --html` in a real browser: what it shows is `table --json`'s, and what it does it does alone.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod browser;
mod invoke;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

use browser::Browser;
use invoke::{command, file};

fn printed(command: &mut Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A filter of `tests/cases`.
fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

/// Podman's profile, and Docker's where `.ci/run` could get it.
fn profiles() -> Vec<PathBuf> {
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debian-profiles/docker.json");
    let podman = PathBuf::from("/usr/share/containers/seccomp.json");
    assert!(podman.exists(), "golang-github-containers-common is installed");
    [podman, docker].into_iter().filter(|path| path.exists()).collect()
}

fn page(folder: &TempDir, filters: &[&Path], compare: &[&Path]) -> PathBuf {
    let page = folder.path().join("page.html");
    let mut table = command("table");
    table.args(filters).arg("--html").arg("-o").arg(&page);
    for other in compare {
        table.arg("--compare").arg(other);
    }
    printed(&mut table);
    page
}

/// The table of an entry, of the filter that x86-64 gets.
fn table(filter: &Path, arch: &str) -> Value {
    let make =
        if filter.extension().is_some_and(|extension| extension == "json") { "compile" } else { "assemble" };
    let raw = command(make).arg(filter).assert().success().get_output().stdout.clone();
    let table = printed(command("table").args(["-", "--json", "--arch", arch]).write_stdin(raw));
    serde_json::from_str(&table).unwrap()
}

/// What the page says of an entry, from what a person sees: `[name, number, decision]` of each call and of the other
/// numbers, with a decision as [`in_words`] has it, or those of two sides.
const READ: &str = "
    const said = (cell) => {
        const cases = [...cell.querySelectorAll('.cases > li')];
        const value = (data) => `${data.value} ${data.textContent}`;
        if (cases.length === 0) {
            const data = cell.querySelector('data');
            return data ? value(data) : cell.querySelector('[data-action]').textContent;
        }
        return cases.map((one) => {
            const terms = [...one.querySelectorAll('code')].map((code) => code.textContent);
            return value(one.querySelector('data')) + (terms.length ? ' if ' + terms.join(', or ') : '');
        }).join('; ');
    };
    const entry = document.querySelector(`section[data-arch='${arguments[0]}']`);
    return [...entry.querySelectorAll('tbody > tr')].flatMap((row) => {
        const sides = [...row.querySelectorAll('.says')].map(said);
        return [...row.querySelectorAll('.calls > li')].map((item) => {
            const number = item.querySelector('small');
            return [item.firstChild.textContent.trim(), number && Number(number.textContent), sides];
        });
    });
";

/// The calls that can be seen.
const VISIBLE: &str = "
    return [...document.querySelectorAll('section.entry .calls > li')].filter((item) => item.checkVisibility())
        .map((item) => item.firstChild.textContent.trim());
";

/// A decision of `table --json` in the words of a page.
fn in_words(decision: &Value) -> String {
    let value = |value: &Value| {
        format!("{} {}", value["value"].as_str().unwrap(), value["decision"].as_str().unwrap())
    };
    match decision["kind"].as_str().unwrap() {
        "always" => value(&decision["otherwise"]),
        "cases" => {
            let cases = decision["cases"].as_array().unwrap().iter();
            let mut words: Vec<_> = cases
                .map(|case| format!("{} if {}", value(&case["then"]), case["words"].as_str().unwrap()))
                .collect();
            words.push(value(&decision["otherwise"]));
            words.join("; ")
        }
        other => other.to_string(),
    }
}

/// The lines that a page should have for a table.
fn lines(table: &Value) -> BTreeSet<String> {
    let hidden = if table["arch"] == "x32" { 1 << 30 } else { 0 };
    let rows = table["rows"].as_array().unwrap().iter();
    let calls = rows.flat_map(|row| {
        let words = in_words(&row["decision"]);
        row["calls"].as_array().unwrap().iter().map(move |call| {
            let nr = call["nr"].as_i64().unwrap() & !hidden;
            json!([call["name"], nr, [words]]).to_string()
        })
    });
    let others = json!(["every other number", null, [in_words(&table["others"])]]).to_string();
    calls.chain([others]).collect()
}

/// The names that have what `is` says of their decision.
fn names(table: &Value, is: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let rows = table["rows"].as_array().unwrap().iter().filter(|row| is(&in_words(&row["decision"])));
    let calls = rows.flat_map(|row| row["calls"].as_array().unwrap());
    let mut names: BTreeSet<_> = calls.map(|call| call["name"].as_str().unwrap().to_string()).collect();
    if is(&in_words(&table["others"])) {
        names.insert("every other number".into());
    }
    names
}

fn set(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_string()).collect()
}

#[test]
fn a_page_says_what_the_table_and_eval_say() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let mut filters = profiles();
    filters.extend([case("docker-like-tree.bpfasm"), case("deny-mkdir.bpfasm")]);
    for filter in filters {
        browser.open(&page(&folder, &[&filter], &[]));
        let entries = browser
            .run("return [...document.querySelectorAll('section.entry')].map((entry) => entry.id)", &[]);
        let entries = set(&entries);
        assert!(entries.contains("x86_64"), "{entries:?}");
        for arch in &entries {
            let table = table(&filter, arch);
            let seen = browser.run(READ, &[json!(arch)]);
            let seen: BTreeSet<_> = seen.as_array().unwrap().iter().map(Value::to_string).collect();
            assert_eq!(seen, lines(&table), "{filter:?} {arch}");
        }
        // Entries without a table get one value, as their own tables have it.
        let rest = browser.run(
            "return [...document.querySelectorAll('.constant tbody > tr')].flatMap((row) =>
                [...row.querySelectorAll('.calls > li')].map((item) => [item.textContent.trim(), row.querySelector('data')?.value]))",
            &[],
        );
        for row in rest.as_array().unwrap() {
            let name = row[0].as_str().unwrap();
            if name == "every other architecture" {
                continue;
            }
            let table = table(&filter, name);
            let value = row[1].as_str().unwrap();
            assert_eq!(
                names(&table, |words| !words.starts_with(value)),
                BTreeSet::new(),
                "{filter:?} {name}"
            );
        }

        // Every value that no argument changes is what the filter returns.
        let seen = browser.run(READ, &[json!("x86_64")]);
        let (mut calls, mut values) = (String::new(), Vec::new());
        for line in seen.as_array().unwrap() {
            let words = line[2][0].as_str().unwrap();
            if let (Some(nr), false) = (line[1].as_i64(), words.contains(" if ")) {
                calls += &format!("c000003e {nr} 7f0000001000 1 2 3 4 5 6\n");
                values.push(words[..10].to_string());
            }
        }
        let batch = file(&folder, "calls", calls);
        let eval = printed(command("eval").arg(&filter).arg("--batch").arg(&batch));
        let eval: Vec<_> = eval.lines().map(|line| format!("0x{}", line.trim_start_matches("0x"))).collect();
        assert!(values.len() > 300 && eval == values, "{filter:?}");
    }
    browser.is_alone();
}

#[test]
fn calls_are_found_and_chosen() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let filter = case("docker-like-tree.bpfasm");
    let url = page(&folder, &[&filter], &[]);
    browser.open(&url);
    let table = table(&filter, "x86_64");
    let all = names(&table, |_| true);
    let visible = || set(&browser.run(VISIBLE, &[]));
    let count = || browser.run("return document.getElementById('count').textContent", &[]);
    assert_eq!(visible(), all);
    assert_eq!(count(), json!(format!("{} system calls", all.len() - 1)));

    let with = |text: &str| all.iter().filter(|name| name.contains(text)).cloned().collect::<BTreeSet<_>>();
    let conditions = |text: &str| names(&table, |words| words.to_lowercase().contains(text));
    let one = |name: &str| BTreeSet::from([name.to_string()]);
    for (query, expected) in [
        ("openat", with("openat")),
        ("OPENAT", with("openat")),
        ("257", one("openat")),
        ("0x101", one("openat")),
        ("arg0 & 0x7e020000", conditions("arg0 & 0x7e020000")),
        ("0x1000", conditions("0x1000")),
        ("kill_process", conditions("kill_process")),
        ("eperm", conditions("eperm")),
        ("every other", one("every other number")),
        ("nothing of this kind", BTreeSet::new()),
    ] {
        browser.type_into("#query", query);
        assert_eq!(visible(), expected, "{query}");
        let calls = expected.iter().filter(|name| *name != "every other number").count();
        assert_eq!(count(), json!(format!("{calls} of {} system calls", all.len() - 1)), "{query}");
        let none = browser.run("return document.querySelector('.none').checkVisibility()", &[]);
        assert_eq!(none, json!(expected.is_empty()), "{query}");
    }
    browser.click("button[type=reset]");
    assert_eq!(visible(), all);

    let kinds = browser
        .run("return [...document.querySelectorAll('[name=action]')].map((input) => input.value)", &[]);
    assert_eq!(kinds, json!(["KILL_PROCESS", "ERRNO", "ALLOW", "ARGUMENTS"]));
    for kind in ["KILL_PROCESS", "ERRNO", "ALLOW"] {
        browser.click(&format!("[value={kind}]"));
        assert_eq!(visible(), names(&table, |words| words.contains(kind)), "{kind}");
        browser.click(&format!("[value={kind}]"));
    }
    browser.click("[value=ARGUMENTS]");
    assert_eq!(visible(), names(&table, |words| words.contains(" if ")));
    browser.click("[value=KILL_PROCESS]");
    assert_eq!(visible(), names(&table, |words| words.contains(" if ") || words.contains("KILL_PROCESS")));

    // The address has the view.
    browser.type_into("#query", "mk");
    let seen = visible();
    let address = browser.run("return location.href", &[]);
    let address = address.as_str().unwrap();
    assert!(address.ends_with("#q=mk&is=KILL_PROCESS&is=ARGUMENTS"), "{address}");
    browser.open(&file(&folder, "other.html", "<title>other</title>"));
    browser.open_url(address);
    assert_eq!(visible(), seen);
    assert_eq!(seen, BTreeSet::from(["mknod".to_string(), "mknodat".to_string()]));
    browser.is_alone();
}

#[test]
fn entries_are_switched() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let filter = &profiles()[0];
    browser.open(&page(&folder, &[filter], &[]));
    for arch in ["i386", "x32", "x86_64"] {
        browser.click(&format!("[name=arch][value={arch}]"));
        assert_eq!(set(&browser.run(VISIBLE, &[])), names(&table(filter, arch), |_| true), "{arch}");
    }
    browser.click("[name=arch][value=x32]");
    browser.type_into("#query", &((1 << 30) + 1).to_string());
    assert_eq!(browser.run(VISIBLE, &[]), json!(["write"]));
    let address = browser.run("return location.hash", &[]);
    assert_eq!(address, json!("#arch=x32&q=1073741825"));
    browser.is_alone();
}

const CLONE: &str = include_str!("clone.bpfasm");

#[test]
fn two_filters_are_compared() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let old = file(&folder, "old.asm", CLONE);
    let new = file(&folder, "new.asm", CLONE.replace("0x10", "0x20").replace("#mkdir", "#rmdir"));
    browser.open(&page(&folder, &[&old], &[&new]));
    let sides = |name: &str| {
        let all = browser.run(READ, &[json!("x86_64")]);
        let line = all.as_array().unwrap().iter().find(|line| line[0] == name).cloned();
        line.unwrap()[2].clone()
    };
    let (allow, deny) = ("0x7fff0000 ALLOW", "0x00050001 ERRNO(1 EPERM)");
    assert_eq!(sides("mkdir"), json!([deny, allow]));
    assert_eq!(sides("rmdir"), json!([allow, deny]));
    assert_eq!(sides("read"), json!([allow]));
    assert_eq!(
        sides("clone"),
        json!([format!("{allow} if arg0 <= 0xf; {deny}"), format!("{allow} if arg0 <= 0x1f; {deny}")])
    );
    browser.click("#differs");
    assert_eq!(set(&browser.run(VISIBLE, &[])), ["clone", "mkdir", "rmdir"].map(String::from).into());

    // With whole profiles it is what `diff` finds.
    if let [podman, docker] = profiles().as_slice() {
        browser.open(&page(&folder, &[docker], &[podman]));
        browser.click("#differs");
        let seen = set(&browser.run(VISIBLE, &[]));
        let diff = command("diff")
            .arg(docker)
            .arg(podman)
            .arg("--json")
            .assert()
            .code(1)
            .get_output()
            .stdout
            .clone();
        let diff: Value = serde_json::from_slice(&diff).unwrap();
        let rows = diff["differences"].as_array().unwrap().iter();
        let ranges: Vec<(i64, i64)> = rows
            .filter(|row| row["arch"] == "AUDIT_ARCH_X86_64")
            .flat_map(|row| serde_json::from_value::<Vec<_>>(row["numbers"].clone()).unwrap())
            .collect();
        let table = table(docker, "x86_64");
        let calls = table["rows"].as_array().unwrap().iter().flat_map(|row| row["calls"].as_array().unwrap());
        let differ = calls.filter(|call| {
            let nr = call["nr"].as_i64().unwrap();
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&nr))
        });
        let mut found: BTreeSet<_> = differ.map(|call| call["name"].as_str().unwrap().to_string()).collect();
        found.insert("every other number".into());
        assert_eq!(seen, found);
    }

    // Two forms of one filter are told to be one, however they are written.
    let [linear, tree] = ["linear", "tree"].map(|form| case(&format!("docker-like-{form}.bpfasm")));
    browser.open(&page(&folder, &[&linear], &[&tree]));
    browser.click("#differs");
    assert_eq!(browser.run(VISIBLE, &[]), json!([]));
    browser.is_alone();
}

/// Several filters of a thread are one side, and what counts is `eval`'s.
#[test]
fn a_stack_is_one_table() {
    let folder = TempDir::new().unwrap();
    let old = file(&folder, "old.asm", CLONE);
    let new = file(
        &folder,
        "new.asm",
        "ld [0]\n jeq #clone, some\n jeq #mkdir, other\n ret #SECCOMP_RET_ALLOW\n\
         some: ld [24]\n jeq #0, other\n ret #SECCOMP_RET_LOG\nother: ret #SECCOMP_RET_ERRNO|38",
    );
    let stack = printed(command("table").arg(&old).arg(&new));
    let words = "ERRNO(38 ENOSYS) if arg1 & 0xffffffff == 0; \
                 LOG if arg0 <= 0xf and arg1 & 0xffffffff != 0; else ERRNO(1 EPERM):\n  clone\n";
    assert!(stack.contains(words), "{stack}");
    assert!(stack.contains("0x00050026 ERRNO(38 ENOSYS) (1):\n  mkdir\n"), "{stack}");
    let other_order = printed(command("table").arg(&new).arg(&old));
    assert!(other_order.contains("0x00050001 ERRNO(1 EPERM) (1):\n  mkdir\n"), "{other_order}");
}

#[test]
fn a_table_is_loaded_in_the_page() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let old = file(&folder, "old.asm", CLONE);
    let new = file(&folder, "new.asm", CLONE.replace("0x10", "0x20").replace("#mkdir", "#rmdir"));
    let other =
        file(&folder, "<b>new</b>.json".replace('/', "_").as_str(), table(&new, "x86_64").to_string());
    let url = page(&folder, &[&old], &[]);
    browser.open(&url);
    let loaded = || browser.run("return document.getElementById('loaded').textContent", &[]);
    let mut hostile = table(&new, "x86_64");
    hostile["rows"][0]["decision"]["otherwise"]["value"] = json!("\"><img src=x onerror=alert(1)>");
    for (name, content) in [
        ("empty.json", String::new()),
        ("list.json", "[]".into()),
        ("null.json", "null".into()),
        ("profile.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#.into()),
        ("rows.json", r#"{"arch": "x86_64", "rows": 3}"#.into()),
        ("other.json", r#"{"arch": "<i>", "rows": [], "others": {}}"#.into()),
        ("hostile.json", hostile.to_string()),
    ] {
        browser.choose("#file", &file(&folder, name, content));
        browser.wait(&format!("document.getElementById('loaded').textContent.startsWith({})", json!(name)));
        let said = loaded();
        assert!(
            said.as_str().unwrap().starts_with(&format!("{name}: it is "))
                || said == "hostile.json: a decision has no value",
            "{said}"
        );
        assert_eq!(
            browser.run("return document.querySelectorAll('tr[data-same], i, img').length", &[]),
            0,
            "{name}"
        );
    }
    browser.choose("#file", &other);
    browser.wait("document.querySelector('tr[data-same]') !== null");
    assert_eq!(set(&browser.run(VISIBLE, &[])), ["clone", "mkdir", "rmdir"].map(String::from).into());
    assert_eq!(browser.run("return document.querySelectorAll('main b').length", &[]), 0);
    browser.click("#differs");
    assert_eq!(set(&browser.run(VISIBLE, &[])), names(&table(&old, "x86_64"), |_| true));
    browser.click("#differs");
    browser.look("loaded");
    browser.is_alone();
}

/// Names of files are text, whatever they are.
#[test]
fn a_hostile_name_is_a_name() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let owned = "<script>document.title='owned'</script>";
    let names = [
        format!("</title></style></script>{owned}"),
        "<img src=x onerror=\"document.title='owned'\">".into(),
        "\" onmouseover=\"document.title='owned'\" x=\"".into(),
        "{{7*7}} &lt;b&gt; ]]> <!-- \u{202e}nosj.".into(),
        "line\nfeed\ttab\u{7f}".into(),
    ];
    let escaped = |name: &str| {
        let odd = [('\n', "\\n"), ('\t', "\\t"), ('\u{7f}', "\\u{7f}"), ('\u{202e}', "\\u{202e}")];
        odd.iter().fold(name.to_owned(), |name, (c, escaped)| name.replace(*c, escaped))
    };
    for name in names {
        let path = folder.path().join(format!("{name}.asm"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, CLONE).unwrap();
        let other = case("deny-mkdir.bpfasm");
        browser.open(&page(&folder, &[&path], &[&other]));
        let title = browser.run("return document.querySelector('header .note bdi').textContent", &[]);
        assert_eq!(title, json!(escaped(path.to_str().unwrap())));
        let odd = "return [document.scripts.length, document.querySelectorAll('img, b, style').length, document.title]";
        let odd = browser.run(odd, &[]);
        assert_eq!((&odd[0], &odd[1]), (&json!(1), &json!(1)), "{name}");
        assert_ne!(odd[2], "owned", "{name}");
        assert_eq!(set(&browser.run(VISIBLE, &[])).len(), 384, "{name}");
    }
    browser.is_alone();
}

/// How it looks, in the colours and widths of people's machines. Pictures are left to be looked at.
#[test]
fn a_page_is_readable_everywhere() {
    const OVERFLOW: &str =
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let profiles = profiles();
    let like = case("docker-like-tree.bpfasm");
    let pages = [
        ("profile", vec![profiles[profiles.len() - 1].as_path()], vec![]),
        ("compared", vec![like.as_path()], vec![profiles[0].as_path()]),
    ];
    for (name, filters, others) in pages {
        let url = page(&folder, &filters, &others);
        for scheme in ["light", "dark"] {
            browser.scheme(scheme);
            for (device, width, height) in [("desktop", 1280, 900), ("phone", 390, 844), ("small", 320, 568)]
            {
                browser.size(width, height);
                browser.open(&url);
                let view = format!("{name}-{device}-{scheme}");
                assert_eq!(browser.run(OVERFLOW, &[]), 0, "{view}");
                assert_eq!(browser.run(CONTRAST, &[]), json!([]), "{view}");
                browser.look(&view);
                browser.type_into("#query", "arg");
                assert_eq!(browser.run(OVERFLOW, &[]), 0, "{view}");
                if device == "phone" {
                    browser.look(&format!("{view}-search"));
                }
            }
        }
    }

    // Laid out as blocks it is a table all the same.
    let roles = browser.accessible();
    for (role, name) in [
        ("searchbox", "Search"),
        ("radio", "x86_64"),
        ("checkbox", "only differences"),
        ("button", "Show all"),
        ("heading", "x86_64"),
    ] {
        assert!(roles.iter().any(|(r, n)| r == role && n.contains(name)), "{role} {name}: {roles:?}");
    }
    for role in ["table", "row", "rowheader", "cell", "list", "listitem", "status", "search", "main"] {
        assert!(roles.iter().any(|(r, _)| r == role), "{role}");
    }

    browser.print();
    assert_eq!(browser.run("return document.getElementById('controls').checkVisibility()", &[]), false);
    browser.look("print");
    browser.is_alone();
}

/// Texts with less contrast than 4.5 (WCAG 2, AA) to what is behind them, and how much.
const CONTRAST: &str = "
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => {
        const [r, g, b] = color.map((part) => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = rgb(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] === 1) {
                return color.slice(0, 3);
            }
        }
        return [255, 0, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const poor = new Map();
    let texts = 0;
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (walker.currentNode.data.trim() === '' || !element.checkVisibility()) {
            continue;
        }
        texts += 1;
        const [a, b] = [rgb(getComputedStyle(element).color).slice(0, 3), behind(element)].map(luminance);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) {
            poor.set(`${element.tagName} ${element.className} ${element.dataset.action}`, ratio);
        }
    }
    if (texts < 300) {
        poor.set('texts', texts);
    }
    return [...poor];
";

#[test]
fn a_keyboard_is_enough() {
    const TAB: &str = "\u{e004}";
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    browser.open(&page(&folder, &[&profiles()[0]], &[]));
    let focus = || browser.run("return document.activeElement.id || document.activeElement.value", &[]);
    browser.keys(TAB);
    assert_eq!(focus(), "query");
    browser.keys("clone3");
    assert_eq!(browser.run(VISIBLE, &[]), json!(["clone3"]));
    browser.keys(TAB);
    assert_eq!(focus(), "x86_64");
    browser.keys("\u{e014}");
    assert_eq!(focus(), "i386");
    assert_eq!(browser.run("return location.hash", &[]), "#arch=i386&q=clone3");
    browser.keys(TAB);
    assert_eq!(focus(), "ERRNO");
    browser.keys(" ");
    assert_eq!(browser.run("return location.hash", &[]), "#arch=i386&q=clone3&is=ERRNO");
    let outline =
        browser.run("return getComputedStyle(document.activeElement.parentElement).outlineStyle", &[]);
    assert_eq!(outline, "solid");
}

#[test]
fn without_its_script_it_is_a_table() {
    let browser = Browser::start();
    let folder = TempDir::new().unwrap();
    let filter = &profiles()[0];
    let url = page(&folder, &[filter], &[]);
    browser.open_without_script(&url);
    let seen = set(&browser.run(VISIBLE, &[]));
    let all: BTreeSet<_> = ["x86_64", "i386", "x32"]
        .into_iter()
        .flat_map(|arch| names(&table(filter, arch), |_| true))
        .collect();
    assert_eq!(seen, all);
    let odd = "return [document.getElementById('controls').checkVisibility(), document.querySelectorAll('nav a').length,
        document.querySelector('nav').checkVisibility()]";
    assert_eq!(browser.run(odd, &[]), json!([false, 3, true]));
    browser.look("no-script");
    browser.is_alone();
}
