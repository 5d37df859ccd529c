//! What the command `seccomp-rbpf` has to lend to other programs that embed the runtime on a Linux host:
//! executable memory, eBPF filters out of object files, the compiler of container engines' profiles, and what the
//! benchmarks measure on.

#![deny(unsafe_code)]

pub mod cases;
pub mod exec_memory;
pub mod flow;
pub mod object;
pub mod policy;
pub mod profile;
pub mod symbolic;
pub mod trace;
