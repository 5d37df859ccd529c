//! `cargo run -p toy-kernel-boot -- [MACHINE [PROGRAM...]]` boots the toy kernel and shows its serial console.

use std::env;
use std::io::{self, Write};

use anyhow::{Result, anyhow};
use toy_kernel_boot::{EXTENSION, LIMIT, Machine, PROGRAMS};

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let machines = match args.next() {
        Some(name) => {
            vec![Machine::named(&name).ok_or_else(|| anyhow!("{name} is none of x86_64, riscv64, aarch64"))?]
        }
        None => Machine::ALL.to_vec(),
    };
    let mut programs: Vec<String> = args.collect();
    if programs.is_empty() {
        programs = PROGRAMS.into_iter().chain([EXTENSION]).map(String::from).collect();
    }
    for machine in machines {
        let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
        machine.build()?.boot(&programs, LIMIT, |line| {
            // What reads it may have gone.
            let _ = writeln!(io::stdout(), "{line}");
        })?;
    }
    Ok(())
}
