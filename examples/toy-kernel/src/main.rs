//! A small kernel that boots under QEMU and runs static Linux programs, every system call of theirs through
//! `seccomp-kernel`. It is what `docs/porting.md` points at; read it in this order:
//!
//! 1. [`seccomp`]: the `Kernel` that the library is given, all of it.
//! 2. [`entry`]: where a system call meets its filters, and what becomes of each verdict.
//! 3. [`helpers`]: what extensions ask about the thread that makes a call.
//! 4. [`listener`]: user notification, with who sleeps and who wakes.
//! 5. [`exec_memory`]: where the JIT's code goes.
//! 6. [`thread`] and [`process`]: when the state of seccomp is made, inherited and left; [`signal`] for SIGSYS.
//! 7. The rest is what a kernel has anyway: [`memory`], [`scheduler`], [`syscall`], [`files`], [`futex`], [`elf`],
//!    [`initrd`], [`console`], and what depends on the machine in [`arch`].
//!
//! It has one processor, no preemption in the kernel, no files but the console and pipes, and no execve.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code, reason = "the machine")]
mod arch;
mod console;
mod elf;
mod entry;
#[allow(unsafe_code, reason = "it makes what is written executable")]
mod exec_memory;
mod files;
mod futex;
mod helpers;
mod initrd;
mod listener;
#[allow(unsafe_code, reason = "pages, and who may do what with them")]
mod memory;
mod process;
#[allow(unsafe_code, reason = "it leaves one stack for another")]
mod scheduler;
mod seccomp;
mod signal;
mod syscall;
mod thread;

use core::panic::PanicInfo;

use memory::Machine;
use memory::stack::Stack;
use process::Process;

/// The kernel, from when its boot code is done.
fn main(machine: Machine) -> ! {
    console::init();
    memory::init(&machine);
    arch::init();
    if let Some(initrd) = machine.initrd {
        initrd::init(initrd);
    }
    exec_memory::check_at_boot();
    for program in machine.command_line.split_whitespace() {
        run(program);
    }
    println!("kernel: no kernel stack was deeper than {} bytes", Stack::deepest());
    println!("kernel: done");
    arch::power_off();
}

/// Runs a program of the archive, `NAME` or `NAME,ARGUMENT...`, until no process is left.
fn run(program: &str) {
    let args: alloc::vec::Vec<&str> = program.split(',').collect();
    let before = memory::in_use();
    println!("kernel: begin {program}");
    let Some(file) = initrd::file(args[0]) else {
        println!("kernel: there is no {}", args[0]);
        return;
    };
    let status = match Process::run(file, &args) {
        Ok(process) => {
            scheduler::run();
            process.ended().unwrap_or_default()
        }
        Err(error) => {
            println!("kernel: {program} cannot be run: {error:?}");
            return;
        }
    };
    println!(
        "kernel: end {program}: status {status:#x}, {} bytes kept",
        memory::in_use() as isize - before as isize
    );
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    println!("kernel: {info}");
    arch::power_off();
}
