//! What the command `seccomp-rbpf` has to lend to other programs that embed the runtime on a Linux host:
//! executable memory.

#![deny(unsafe_code)]

pub mod exec_memory;
