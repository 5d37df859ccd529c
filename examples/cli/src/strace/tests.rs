//! What is read of real lines of strace's is what the program has passed.

use std::fs;
use std::path::Path;
use std::process::Command;

use seccomp_kernel::Arch;

use super::{Gap, read};

/// The lines of every call with arguments by chance, and the numbers and arguments that they had.
fn every_call(width: &str, options: &[&str], seed: u64) -> Vec<(String, i32, [u64; 6])> {
    const ROUNDS: usize = 6;
    let dir = tempfile::TempDir::new().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/every_call.c");
    let (program, log) = (dir.path().join("every_call"), dir.path().join("log"));
    let compiled = Command::new("cc").args([width, "-O1", "-w", "-o"]).arg(&program).arg(&source).status();
    assert!(compiled.unwrap().success());
    let mut strace = Command::new("strace");
    strace.args(options).arg("-o").arg(&log).arg(&program).args([ROUNDS.to_string(), seed.to_string()]);
    let output = strace.output().unwrap();
    let log = fs::read(log).unwrap();
    let log = String::from_utf8_lossy(&log);
    let truth = String::from_utf8(output.stdout).unwrap();
    let rows = truth.lines().map(|line| {
        let (nr, args) = line.split_once(' ').unwrap();
        let args: Vec<_> = args.split(' ').map(|arg| u64::from_str_radix(arg, 16).unwrap()).collect();
        (nr.parse().unwrap(), <[u64; 6]>::try_from(args).unwrap())
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= ROUNDS * 598, "{} {}", rows.len(), String::from_utf8_lossy(&output.stderr));
    let installed =
        log.lines().position(|line| line.contains("SECCOMP_MODE_FILTER") || line.contains("prctl(0x16"));
    let lines = log.lines().skip(installed.unwrap() + 1);
    lines.zip(rows).map(|(line, (nr, args))| (line.to_owned(), nr, args)).collect()
}

#[test]
fn every_call_is_read_as_it_was_made() {
    let seed = std::env::var("SECCOMP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| crate::host::random().into());
    for (width, arch) in [("-m64", Arch::X86_64), ("-m32", Arch::I386)] {
        for options in [&["-a1"][..], &["-X", "verbose"], &["-X", "raw"], &["-v", "-yy"]] {
            let (mut known, mut all) = (0, 0);
            for (line, nr, args) in every_call(width, options, seed) {
                let place = format!("seed {seed} {width} {options:?}: {nr} {args:x?}\n{line}");
                let reading = match read(&line, arch, None, true) {
                    Ok(reading) => reading,
                    Err(error) => panic!("{error:?} {place}"),
                };
                if reading.nr != nr && reading.or_nr != Some(nr) {
                    panic!("{} {place}", reading.nr);
                }
                if reading.nr != nr {
                    continue;
                }
                for ((arg, mask), real) in reading.args.iter().zip(reading.known).zip(args) {
                    assert_eq!(*arg, real & mask, "{reading:x?} {place}");
                }
                let shown = reading.gaps.iter().filter(|gap| !matches!(gap, Gap::NotShown | Gap::Address));
                all += shown.clone().count();
                known += shown.filter(|gap| matches!(gap, Gap::None | Gap::UpperBits)).count();
            }
            // Flags by chance are more than programs pass, and strace knows names that are not known here.
            assert!(known * 100 > all * 97, "{width} {options:?}: {known} of {all}");
        }
    }
}
