//! What the command `seccomp-rbpf` has to lend to other programs that embed the runtime on a Linux host:
//! executable memory, eBPF filters out of object files, the compiler of container engines' profiles, and what the
//! benchmarks measure on.
//!
//! ```
//! use cbpf_translator::check;
//! use seccomp_kernel::Arch;
//! use seccomp_rbpf::profile::{Machine, Profile};
//! use seccomp_runtime::{EngineKind, Loaded, NoExecMemory, SeccompData};
//!
//! let json = br#"{"defaultAction": "SCMP_ACT_ERRNO",
//!     "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]}"#;
//! let machine = Machine { arch: Arch::X86_64, caps: [].into(), kernel: "6.1".parse()? };
//! let meaning = Profile::parse(json)?.resolve(&machine)?;
//! let filter = Loaded::load(check(meaning.compile()?)?, EngineKind::Native, &NoExecMemory)?;
//!
//! let call = |nr| SeccompData { nr, arch: Arch::X86_64.audit_arch(), ..Default::default() };
//! let [write, mkdir] = ["write", "mkdir"].map(|name| Arch::X86_64.syscall_number(name));
//! assert_eq!(filter.run(&call(write.unwrap())), 0x7fff_0000);
//! assert_eq!(filter.run(&call(mkdir.unwrap())), 0x0005_0001);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub mod cases;
pub mod exec_memory;
pub mod flow;
pub mod names;
pub mod object;
pub mod policy;
pub mod profile;
pub mod symbolic;
pub mod trace;
