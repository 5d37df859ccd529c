//! In which registers the arguments are that strace prints.

use seccomp_kernel::Arch;

/// Where a printed argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the register of this index, as a number of this many units.
    One {
        /// The register.
        register: usize,
        /// What 1 there is in print.
        unit: u64,
    },
    /// The lower 16 bits of the register are printed.
    Short(usize),
    /// Its low half is in the first, its high half in the second.
    Two([usize; 2]),
    /// It is not known where.
    Nowhere,
}

/// The arguments of clone by the names that strace gives them, in the order of the registers.
const CLONE: [&str; 5] = ["flags", "child_stack", "parent_tid", "child_tid", "tls"];

/// The same where the thread's storage comes first (`CLONE_BACKWARDS`).
const CLONE_BACKWARDS: [&str; 5] = ["flags", "child_stack", "parent_tid", "tls", "child_tid"];

/// The register of an argument of clone by its name.
pub fn of_clone(key: &str, arch: Arch) -> Option<usize> {
    let order = match arch {
        Arch::X86_64 | Arch::X32 | Arch::Loongarch64 => CLONE,
        Arch::I386 | Arch::Aarch64 | Arch::Arm | Arch::Riscv64 => CLONE_BACKWARDS,
    };
    let key = key.trim_end_matches("ptr");
    order.iter().position(|name| *name == key)
}

/// The calls of which 32-bit entries take numbers of 64 bits in two registers, and strace prints one: `l` of one that
/// has the low half first, `h` of one that has the high half first, `.` of another argument.
const WIDE: [(&str, &str); 17] = [
    ("pread64", "...l"),
    ("pwrite64", "...l"),
    ("truncate64", ".l"),
    ("ftruncate64", ".l"),
    ("readahead", ".l."),
    ("sync_file_range", ".ll."),
    ("fallocate", "..ll"),
    ("_llseek", ".h.."),
    ("fadvise64", ".l.."),
    ("fadvise64_64", ".ll."),
    ("lookup_dcookie", "l.."),
    ("fanotify_mark", "..l.."),
    ("preadv", "...l"),
    ("pwritev", "...l"),
    ("preadv2", "...l."),
    ("pwritev2", "...l."),
    ("sync_file_range2", "..ll"),
];

/// Calls that have a second register for an offset at 64-bit entries too, which is not printed.
const SPLIT: [&str; 4] = ["preadv", "pwritev", "preadv2", "pwritev2"];

/// Calls of 32-bit entries whose arguments are read from memory and printed as if they were in registers.
const INDIRECT: [(Arch, &str); 4] =
    [(Arch::I386, "mmap"), (Arch::I386, "select"), (Arch::I386, "socketcall"), (Arch::I386, "ipc")];

/// Calls of 32-bit entries whose ids have 16 bits, all behind a path or a descriptor if there is one.
const SHORT: [&str; 11] = [
    "lchown",
    "chown",
    "fchown",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
];

/// Where the argument of this index is.
pub fn place(name: &str, index: usize, arch: Arch) -> Place {
    let plain = Place::One { register: index, unit: 1 };
    // Which are printed there depends on the operation.
    if matches!(name, "futex" | "futex_time64" | "ptrace") && index >= 2 {
        return Place::Nowhere;
    }
    if !arch.is_compat() || arch == Arch::X32 {
        let behind = SPLIT.contains(&name) && index >= 4;
        return if behind { Place::One { register: index + 1, unit: 1 } } else { plain };
    }
    if INDIRECT.contains(&(arch, name)) {
        return Place::Nowhere;
    }
    if name == "mmap2" && index == 5 {
        return Place::One { register: index, unit: 4096 };
    }
    if SHORT.contains(&name) && (index > 0 || name.starts_with("set")) {
        return Place::Short(index);
    }
    let Some((_, shape)) = WIDE.iter().find(|(wide, _)| *wide == name) else { return plain };
    let before = shape.bytes().take(index).filter(|kind| *kind != b'.').count();
    let register = index + before;
    match shape.as_bytes().get(index) {
        // A pair begins at an even register there, and some calls have another order.
        Some(_) if arch == Arch::Arm && shape.bytes().take(index + 1).any(|kind| kind != b'.') => {
            Place::Nowhere
        }
        Some(b'l') => Place::Two([register, register + 1]),
        Some(b'h') => Place::Two([register + 1, register]),
        _ => Place::One { register, unit: 1 },
    }
}
