//! What `docs/porting.md` points at exists.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn names_in_the_guide_exist() {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = fs::read_to_string(kernel.join("../../docs/porting.md")).expect("the guide");
    let mut sources = Vec::new();
    files(&kernel.join("src"), &mut sources);
    let mut checked = 0;
    for quoted in guide.split('`').skip(1).step_by(2) {
        if let Some(program) = quoted.strip_prefix("user/") {
            assert!(kernel.join("user").join(program).is_file(), "{quoted}");
        }
        let Some((file, name)) = quoted.split_once(".rs: ") else { continue };
        let text: Vec<String> = sources
            .iter()
            .filter(|path| path.ends_with(format!("{file}.rs")))
            .map(|path| fs::read_to_string(path).expect("a source"))
            .collect();
        let defined = |text: &String| {
            ["fn", "struct", "enum"].iter().any(|kind| {
                [" ", "(", "<", " {", ";"].iter().any(|end| text.contains(&format!("{kind} {name}{end}")))
            })
        };
        // Where every machine has such a file, all of them.
        assert!(!text.is_empty() && text.iter().all(defined), "`{quoted}`");
        checked += 1;
    }
    assert!(checked > 30, "{checked} names");
}
