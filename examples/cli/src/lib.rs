//! What the command `seccomp-rbpf` has to lend to other programs that embed the runtime on a Linux host:
//! executable memory, what the benchmarks measure on, and the compiler of container engines' profiles.

#![deny(unsafe_code)]

pub mod cases;
pub mod exec_memory;
pub mod policy;
pub mod profile;
