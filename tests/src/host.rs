//! The kernel that the tests run on, as a judge: which programs it accepts as filters ([`offer`]) and what
//! they return in it ([`decide`]).
//!
//! Filters are installed in forked children only, since a filter is never taken off. A child tells its
//! results through shared memory, because its filter may deny it everything else.
//!
//! A kernel shows what a filter returned only by what it then does. [`decide`] makes it show all 32 bits:
//!
//! ```text
//! ld [8]                        only calls from the two known addresses reach the program;
//! jeq #NATIVE_IP, program       the child is free to make others
//! jeq #COMPAT_IP, program
//! ret ALLOW
//! program:
//! ld #0                         A is 0 again, as a program finds it; X and M[] were not touched
//!   ...                         RET K becomes RET ERRNO | 12 bits of K, RET A becomes JA tail
//! tail:
//! rsh #shift; and #0xfff; or #ERRNO; ret a
//! ```
//!
//! No instruction of the program changes its place, so no distance changes. An errno carries 12 bits: three
//! children, one a shift, give the value. A division by 0 cannot be made visible so; it kills the child at
//! that input, and another child goes on behind it.
//!

#![expect(unsafe_code, reason = "system calls of the kind that the tests are about, in forked children")]

use std::arch::asm;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::{self, NonNull};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, mem, slice};

use cbpf_translator::cbpf::{MAX_INSNS, Opcode, SockFilter};
use cbpf_translator::seccomp::{AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, RET_ALLOW, RET_ERRNO, RET_KILL_THREAD};
use libc::{c_void, sock_fprog};
use seccomp_runtime::SeccompData;

/// What the entry by `syscall` says it is.
pub const ARCH_NATIVE: u32 = AUDIT_ARCH_X86_64;
/// What the entry by `int $0x80` says it is.
pub const ARCH_COMPAT: u32 = AUDIT_ARCH_I386;

/// The longest program that [`decide`] takes: what it adds must fit too.
pub const MAX_DECIDED: usize = MAX_INSNS - GATE - TAIL;

const GATE: usize = 5;
const TAIL: usize = 4;

/// Bits of a return value that an errno carries.
const PIECE: u32 = 12;
const PIECE_MASK: u32 = (1 << PIECE) - 1;

/// Where the code that enters the kernel is mapped: the same address in each run, so that a seed gives the
/// same instruction pointers, and one whose low half is negative as an eBPF immediate.
const ENTRIES: u64 = 0x1234_8765_4000;
const COMPAT_ENTRY: u64 = ENTRIES + 0x40;

/// `entry(&SeccompData)`: makes the call that the data describes, by `syscall`.
#[rustfmt::skip]
const NATIVE: [u8; 29] = [
    0x8b, 0x07,             // mov eax, [rdi]         nr
    0x48, 0x8b, 0x77, 0x18, // mov rsi, [rdi + 0x18]  args[1]
    0x48, 0x8b, 0x57, 0x20, // mov rdx, [rdi + 0x20]
    0x4c, 0x8b, 0x57, 0x28, // mov r10, [rdi + 0x28]
    0x4c, 0x8b, 0x47, 0x30, // mov r8, [rdi + 0x30]
    0x4c, 0x8b, 0x4f, 0x38, // mov r9, [rdi + 0x38]   args[5]
    0x48, 0x8b, 0x7f, 0x10, // mov rdi, [rdi + 0x10]  args[0]
    0x0f, 0x05,             // syscall
    0xc3,                   // ret
];

/// The same by `int $0x80`, which takes the low halves.
#[rustfmt::skip]
const COMPAT: [u8; 27] = [
    0x53,                   // push rbx
    0x55,                   // push rbp
    0x8b, 0x07,             // mov eax, [rdi]         nr
    0x8b, 0x5f, 0x10,       // mov ebx, [rdi + 0x10]  args[0]
    0x8b, 0x4f, 0x18,       // mov ecx, [rdi + 0x18]
    0x8b, 0x57, 0x20,       // mov edx, [rdi + 0x20]
    0x8b, 0x77, 0x28,       // mov esi, [rdi + 0x28]
    0x8b, 0x6f, 0x38,       // mov ebp, [rdi + 0x38]  args[5]
    0x8b, 0x7f, 0x30,       // mov edi, [rdi + 0x30]  args[4]
    0xcd, 0x80,             // int 0x80
    0x5d,                   // pop rbp
    0x5b,                   // pop rbx
    0xc3,                   // ret
];

/// What a filter sees as instruction pointer: the address behind `syscall` and behind `int $0x80`.
const NATIVE_IP: u64 = ENTRIES + NATIVE.len() as u64 - 1;
const COMPAT_IP: u64 = COMPAT_ENTRY + COMPAT.len() as u64 - 3;

type Entry = unsafe extern "C" fn(&SeccompData) -> i64;

/// Whether tests that need the host are to run: `SECCOMP_TESTS_NO_HOST=1` turns them off, and they say so.
///
/// # Panics
///
/// They are to run and cannot ([`available`]).
pub fn enabled() -> bool {
    if env::var_os("SECCOMP_TESTS_NO_HOST").is_some_and(|value| value == "1") {
        println!("turned off by SECCOMP_TESTS_NO_HOST=1");
        return false;
    }
    if let Err(why) = available() {
        panic!("{why}; SECCOMP_TESTS_NO_HOST=1 turns the tests off that need it");
    }
    true
}

/// Whether this kernel lets us install filters and enter it both ways.
///
/// # Errors
///
/// What it does not let us do.
pub fn available() -> Result<(), String> {
    let arch = [SockFilter::new(0x20, 0, 0, 4), SockFilter::new(0x16, 0, 0, 0)];
    offer(&arch).map_err(|errno| format!("no filter: {}", io::Error::from_raw_os_error(errno)))?;
    for expected in [ARCH_NATIVE, ARCH_COMPAT] {
        let input = normalise(&SeccompData { arch: expected, ..SeccompData::default() });
        match try_decide(&arch, &[input])?.first() {
            Some(&value) if value == expected => {}
            other => return Err(format!("entry {expected:#x}: the filter saw {other:x?}")),
        }
    }
    Ok(())
}

/// Whether `seccomp(2)` accepts `program` as a filter.
///
/// # Errors
///
/// The errno of the refusal.
///
/// # Panics
///
/// As [`offer_all`].
pub fn offer(program: &[SockFilter]) -> Result<(), i32> {
    offer_all(&[program])[0]
}

/// [`offer`] for many; each that is accepted costs a child.
///
/// # Panics
///
/// A program is longer than `sock_fprog` can say, or there are no resources for a child.
pub fn offer_all<P: AsRef<[SockFilter]>>(programs: &[P]) -> Vec<Result<(), i32>> {
    let programs: Vec<sock_fprog> = programs.iter().map(|program| fprog(program.as_ref())).collect();
    let answers = Cells::new(programs.len());
    while let Some(next) = answers.iter().position(Cell::is_empty) {
        let body = || {
            for (program, cell) in programs.iter().zip(&*answers).skip(next) {
                // SAFETY: this is a child, and it leaves as soon as it is filtered.
                let answer = unsafe { install(program) };
                cell.fill(answer.err().unwrap_or(0).cast_unsigned());
                if answer.is_ok() {
                    break;
                }
            }
        };
        // SAFETY: the body calls the kernel and stores into cells; it neither allocates nor panics.
        let status = unsafe { in_child(body) };
        assert!(!answers[next].is_empty(), "the child did not offer program {next}: {status}");
    }
    let answer = |cell: &Cell| match cell.get().expect("every program was offered") {
        0 => Ok(()),
        errno => Err(errno.cast_signed()),
    };
    answers.iter().map(answer).collect()
}

/// Whether `seccomp(2)` accepts `programs` one after another in one process. All but the last let it be
/// called again.
///
/// # Errors
///
/// The errno of the first refusal.
///
/// # Panics
///
/// As [`offer_all`].
pub fn offer_path<P: AsRef<[SockFilter]>>(programs: &[P]) -> Result<(), i32> {
    let programs: Vec<sock_fprog> = programs.iter().map(|program| fprog(program.as_ref())).collect();
    let answers = Cells::new(programs.len());
    let body = || {
        for (program, cell) in programs.iter().zip(&*answers) {
            // SAFETY: this is a child, and by contract its filters let it go on.
            let answer = unsafe { install(program) };
            cell.fill(answer.err().unwrap_or(0).cast_unsigned());
        }
    };
    // SAFETY: the body calls the kernel and stores into cells; it neither allocates nor panics.
    let status = unsafe { in_child(body) };
    answers.iter().try_for_each(|cell| match cell.get() {
        Some(0) => Ok(()),
        Some(errno) => Err(errno.cast_signed()),
        None => panic!("the child did not offer every program: {status}"),
    })
}

/// How many filters this process has already; they count against the path of its children.
pub fn inherited_filters() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let count = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
    count.map_or(0, |count| count.trim().parse().expect("a number of filters"))
}

/// `data` as it can be had in this kernel, which fills in all but the number and the arguments: one of the
/// two architectures, the instruction pointer of its entry, 32-bit arguments for the compat entry. The two
/// native numbers that no filter sees (`seccomp_uprobe_exception`) become others.
pub fn normalise(data: &SeccompData) -> SeccompData {
    const URETPROBE: i32 = 335;
    const UPROBE: i32 = 336;
    if data.arch == ARCH_COMPAT {
        let args = data.args.map(|arg| arg & u64::from(u32::MAX));
        SeccompData { nr: data.nr, arch: ARCH_COMPAT, instruction_pointer: COMPAT_IP, args }
    } else {
        let nr = if matches!(data.nr, URETPROBE | UPROBE) { data.nr + 2 } else { data.nr };
        SeccompData { nr, arch: ARCH_NATIVE, instruction_pointer: NATIVE_IP, args: data.args }
    }
}

/// What `program` returns in this kernel for each of `inputs`.
///
/// # Panics
///
/// The program is longer than [`MAX_DECIDED`] or the kernel refuses it, an input is not [`normalise`]d, or
/// there are no resources for a child.
pub fn decide(program: &[SockFilter], inputs: &[SeccompData]) -> Vec<u32> {
    try_decide(program, inputs).unwrap_or_else(|why| panic!("{why}"))
}

fn try_decide(program: &[SockFilter], inputs: &[SeccompData]) -> Result<Vec<u32>, String> {
    static ENTRIES_MAPPED: LazyLock<Result<(), String>> = LazyLock::new(map_entries);
    ENTRIES_MAPPED.clone()?;
    assert!(program.len() <= MAX_DECIDED, "{} instructions and the gate are too many", program.len());
    for input in inputs {
        assert_eq!(*input, normalise(input), "no call looks like this");
    }
    let mut values = vec![Some(0); inputs.len()];
    for shift in [0, PIECE, 2 * PIECE] {
        read_pieces(program, shift, inputs, &mut values)?;
    }
    Ok(values.into_iter().map(|value| value.unwrap_or(RET_KILL_THREAD)).collect())
}

/// Adds the bits from `shift` up to the values; an input that kills gets `None`, and is not tried where it
/// already has it.
fn read_pieces(
    program: &[SockFilter],
    shift: u32,
    inputs: &[SeccompData],
    values: &mut [Option<u32>],
) -> Result<(), String> {
    const KILLED: u32 = PIECE_MASK + 1;
    const NOT_FILTERED: u32 = KILLED + 1;

    let program = instrument(program, shift);
    let program = fprog(&program);
    let refusal = Cells::new(1);
    let pieces = Cells::new(inputs.len());
    for (cell, _) in pieces.iter().zip(&*values).filter(|(_, value)| value.is_none()) {
        cell.fill(KILLED);
    }
    while pieces.iter().any(Cell::is_empty) {
        let body = || {
            // SAFETY: this is a child, and its filter allows all calls but those below.
            if let Err(errno) = unsafe { install(&program) } {
                refusal.iter().for_each(|cell| cell.fill(errno.cast_unsigned()));
                return;
            }
            for (input, cell) in inputs.iter().zip(&*pieces).filter(|(_, cell)| cell.is_empty()) {
                // SAFETY: the filter answers each call from an entry with an errno, or kills.
                let answer = unsafe { enter(input) };
                let piece = u32::try_from(answer.wrapping_neg()).ok().filter(|piece| *piece <= PIECE_MASK);
                cell.fill(piece.unwrap_or(NOT_FILTERED));
            }
        };
        // SAFETY: the body calls the kernel and stores into cells; it neither allocates nor panics.
        let status = unsafe { in_child(body) };
        if let Some(errno) = refusal[0].get() {
            return Err(format!("refused with errno {errno}"));
        }
        if let Some((input, cell)) = inputs.iter().zip(&*pieces).find(|(_, cell)| cell.is_empty()) {
            if status.signal() != Some(libc::SIGSYS) {
                return Err(format!("{input:x?} ended the child: {status}"));
            }
            cell.fill(KILLED);
        }
    }
    for ((value, cell), input) in values.iter_mut().zip(&*pieces).zip(inputs) {
        *value = match (*value, cell.get()) {
            (Some(value), Some(piece @ 0..=PIECE_MASK)) => Some(value | piece << shift),
            (_, Some(KILLED)) => None,
            _ => return Err(format!("{input:x?} went past the filter")),
        };
    }
    Ok(())
}

/// The program, made to return the bits from `shift` up as an errno, to calls from the entries.
fn instrument(program: &[SockFilter], shift: u32) -> Vec<SockFilter> {
    let gate: [SockFilter; GATE] = [
        SockFilter::new(0x20, 0, 0, 8),
        SockFilter::new(0x15, 2, 0, NATIVE_IP as u32),
        SockFilter::new(0x15, 1, 0, COMPAT_IP as u32),
        SockFilter::new(0x06, 0, 0, RET_ALLOW),
        SockFilter::new(0x00, 0, 0, 0),
    ];
    let tail: [SockFilter; TAIL] = [
        SockFilter::new(0x74, 0, 0, shift),
        SockFilter::new(0x54, 0, 0, PIECE_MASK),
        SockFilter::new(0x44, 0, 0, RET_ERRNO),
        SockFilter::new(0x16, 0, 0, 0),
    ];
    let shown = program.iter().enumerate().map(|(pc, insn)| match Opcode::decode(insn.code) {
        Some(Opcode::RetK) => SockFilter { k: RET_ERRNO | insn.k >> shift & PIECE_MASK, ..*insn },
        Some(Opcode::RetA) => SockFilter { code: 0x05, k: (program.len() - pc - 1) as u32, ..*insn },
        _ => *insn,
    });
    gate.into_iter().chain(shown).chain(tail).collect()
}

fn map_entries() -> Result<(), String> {
    const PAGE: usize = 4096;
    let os_error = || format!("entries: {}", io::Error::last_os_error());
    let address = ptr::with_exposed_provenance_mut(ENTRIES as usize);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping, which replaces none.
    let page = unsafe { libc::mmap(address, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page != address {
        return Err(os_error());
    }
    for (code, entry) in [(&NATIVE[..], ENTRIES), (&COMPAT[..], COMPAT_ENTRY)] {
        let to = page.cast::<u8>().wrapping_add((entry - ENTRIES) as usize);
        // SAFETY: both entries lie in the page, which is ours alone and writable.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), to, code.len()) };
    }
    // SAFETY: the page is ours; its bytes are code that keeps the C calling convention.
    match unsafe { libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_EXEC) } {
        0 => Ok(()),
        _ => Err(os_error()),
    }
}

/// Makes the call that `input` describes, by its architecture's entry.
///
/// # Safety
///
/// The entries are mapped, and a filter keeps the kernel from carrying the call out.
unsafe fn enter(input: &SeccompData) -> i64 {
    let address = if input.arch == ARCH_COMPAT { COMPAT_ENTRY } else { ENTRIES };
    let code = ptr::with_exposed_provenance::<c_void>(address as usize);
    // SAFETY: code of this signature is mapped there.
    let entry = unsafe { mem::transmute::<*const c_void, Entry>(code) };
    // SAFETY: it reads the input; that the call itself does nothing is the caller's.
    unsafe { entry(input) }
}

/// # Panics
///
/// The length does not fit the field.
fn fprog(program: &[SockFilter]) -> sock_fprog {
    let len = program.len().try_into().expect("a length of 16 bits");
    sock_fprog { len, filter: program.as_ptr().cast_mut().cast() }
}

/// Installs a filter in this process.
///
/// # Safety
///
/// From here on system calls may fail, do nothing, or kill: the process makes none that something relies on.
unsafe fn install(program: &sock_fprog) -> Result<(), i32> {
    // SAFETY: the kernel reads what it can, else it is an EFAULT; the rest is the caller's.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, program) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) }
}

/// Runs `body` in a forked child and waits for its end.
///
/// # Safety
///
/// `body` takes no lock, so does not allocate, since another thread may have held it at the fork; and it
/// does not unwind.
///
/// # Panics
///
/// There are no resources for a child.
unsafe fn in_child(body: impl FnOnce()) -> ExitStatus {
    // SAFETY: the child does what is fit for one: it runs `body` and leaves.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            // A child that is not dumpable leaves no core file when its filter kills it.
            // SAFETY: it changes this process alone.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
            // SAFETY: as above; without it only root may install a filter.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            body();
            leave()
        }
        child => wait(child),
    }
}

/// Ends a child whatever its filter says.
fn leave() -> ! {
    // SAFETY: the call ends the process; where a filter does not let it, the undefined instruction does.
    // exit(3) would not do: it trusts the call, and the handlers it runs are the parent's.
    unsafe {
        asm!("syscall", "ud2", in("eax") libc::SYS_exit_group as u32, in("edi") 0, options(noreturn));
    }
}

fn wait(child: libc::pid_t) -> ExitStatus {
    let mut status = 0;
    // SAFETY: the status is ours to be written.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "waitpid: {error}");
    }
    ExitStatus::from_raw(status)
}

/// A number that a child tells its parent, or none yet.
#[repr(transparent)]
struct Cell(AtomicU32);

impl Cell {
    /// `number` is not `u32::MAX`.
    fn fill(&self, number: u32) {
        self.0.store(number.wrapping_add(1), Ordering::Release);
    }

    fn get(&self) -> Option<u32> {
        self.0.load(Ordering::Acquire).checked_sub(1)
    }

    fn is_empty(&self) -> bool {
        self.get().is_none()
    }
}

/// Empty cells in memory that children share.
struct Cells {
    base: NonNull<Cell>,
    len: usize,
}

impl Cells {
    fn new(len: usize) -> Self {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, where the kernel has room.
        let base = unsafe { libc::mmap(ptr::null_mut(), Self::bytes(len), protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        Self { base: NonNull::new(base.cast()).expect("nothing is mapped at 0"), len }
    }

    /// A mapping has at least a byte.
    fn bytes(len: usize) -> usize {
        len.max(1) * size_of::<Cell>()
    }
}

impl Deref for Cells {
    type Target = [Cell];

    fn deref(&self) -> &[Cell] {
        // SAFETY: the mapping holds `len` cells until the drop; it came zeroed, which is an empty cell, and
        // cells are changed by atomic stores only, here and in children.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no borrow of it is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::bytes(self.len)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_every_word_is_seen() {
        if !enabled() {
            return;
        }
        let args = [0x0123_4567_89ab_cdef, u64::MAX, 0, 1 << 63 | 1, 0xffff_0000_ffff, 0xf0f0_f0f0_0f0f_0f0f];
        let inputs = [ARCH_NATIVE, ARCH_COMPAT].into_iter().flat_map(|arch| {
            let data = SeccompData { arch, args, ..SeccompData::default() };
            [-1, 0, 39, i32::MIN, i32::MAX].map(|nr| normalise(&SeccompData { nr, ..data }))
        });
        let inputs: Vec<_> = inputs.collect();
        for offset in (0..64).step_by(4) {
            let word = [SockFilter::new(0x20, 0, 0, offset), SockFilter::new(0x16, 0, 0, 0)];
            let expected: Vec<_> = inputs.iter().filter_map(|input| input.word(offset)).collect();
            assert_eq!(decide(&word, &inputs), expected, "{offset}");
        }
    }

    #[test]
    fn a_killed_child_is_a_0_among_values() {
        if !enabled() {
            return;
        }
        // nr / args[0], the low halves
        let divide = [(0x20, 16), (0x07, 0), (0x20, 0), (0x3c, 0), (0x16, 0)];
        let divide = divide.map(|(code, k)| SockFilter::new(code, 0, 0, k));
        let inputs = [0, 2, 0, 0, 7].map(|divisor| {
            normalise(&SeccompData { nr: -2, args: [divisor, 0, 0, 0, 0, 0], ..SeccompData::default() })
        });
        assert_eq!(decide(&divide, &inputs), [0, 0x7fff_ffff, 0, 0, 0x2492_4924]);
    }

    #[test]
    fn the_longest_program_that_is_decided_fits() {
        if !enabled() {
            return;
        }
        let mut program = vec![SockFilter::new(0x04, 0, 0, 3); MAX_DECIDED];
        program[MAX_DECIDED - 1] = SockFilter::new(0x16, 0, 0, 0);
        let input = normalise(&SeccompData::default());
        assert_eq!(decide(&program, &[input]), [3 * (MAX_DECIDED as u32 - 1)]);
    }
}
