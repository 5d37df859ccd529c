//! A call as strace printed it, of which not everything is known.

use std::fmt;

use seccomp_kernel::Arch;
use seccomp_rbpf::profile::multiplexed;

use super::layout::{self, Place};
use super::split::{named, split};
use super::value;

/// The longest text that a gap keeps.
const MAX_TEXT: usize = 64;

/// A call, with the bits of its arguments that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub nr: i32,
    /// It may also be a call of this number, which makes several calls and is printed as the one that it makes.
    pub or_nr: Option<i32>,
    /// What is not known is 0.
    pub args: [u64; 6],
    /// The bits of each that are known.
    pub known: [u64; 6],
    /// Why the others are not.
    pub gaps: [Gap; 6],
}

/// Why an argument is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// It is known.
    None,
    /// It is not printed.
    NotShown,
    /// It is an address of what is printed.
    Address,
    /// It is a negative number, which has 32 bits or 64, or a mode, of which strace prints the lower bits.
    UpperBits,
    /// This is no number, and no constant that is known here.
    Text(String),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("known"),
            Self::NotShown => f.write_str("not shown"),
            Self::Address => f.write_str("an address that is not shown"),
            Self::UpperBits => f.write_str("its upper bits are not shown"),
            Self::Text(text) => write!(f, "{text:?} is not known here"),
        }
    }
}

/// Why a text is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// It has not the shape of one.
    Shape,
    /// There is no system call of that name.
    Name,
    /// It has more arguments than a system call.
    Arguments,
}

/// Reads `NAME(ARGUMENT, ...) = RESULT`, or what is there of one that was cut off: `whole` says that its last argument
/// is all there. `number` is the number where it is known besides the name.
///
/// # Errors
///
/// It is no call.
pub fn read(text: &str, arch: Arch, number: Option<i32>, whole: bool) -> Result<Reading, NotRead> {
    let (name, rest) = text.split_once('(').ok_or(NotRead::Shape)?;
    if name.is_empty()
        || !name.bytes().all(|byte| byte == b'_' || byte == b'?' || byte.is_ascii_alphanumeric())
    {
        return Err(NotRead::Shape);
    }
    let nr = match number {
        Some(number) => number,
        None => self::number(name, arch).or_else(|| multiplexer(name, arch)).ok_or(NotRead::Name)?,
    };
    let or_nr = multiplexer(name, arch).filter(|other| number.is_none() && *other != nr);
    let split = split(rest);
    let behind = split.behind.map(str::trim_start);
    if behind.is_some_and(|behind| !(behind.is_empty() || behind.starts_with(['=', '<', '?']))) {
        return Err(NotRead::Shape);
    }
    let mut texts = split.texts;
    if split.behind.is_none() && !whole {
        texts.pop();
    }
    let mut reading = Reading { or_nr, ..Reading::unknown(nr) };
    // strace prints what a call of several calls does as that one.
    let own_name = arch.syscall_name(nr);
    let is_other = own_name.is_some_and(|own| own != name);
    for (index, text) in texts.into_iter().enumerate() {
        if text.is_empty() || text == "..." || text.starts_with("<...") {
            continue;
        }
        let (place, text) = match named(text) {
            Some((key, value)) => {
                let register = layout::of_clone(key, arch).filter(|_| name == "clone");
                (register.map_or(Place::Nowhere, |register| Place::One { register, unit: 1 }), value)
            }
            None if is_other => (Place::Nowhere, text),
            None => (layout::place(name, index, arch), text),
        };
        // strace writes unknown flags and the mode of these calls without a bar between them.
        let is_glued = GET.contains(&(name, index)) && text.contains("0x");
        reading.put(place, if is_glued { "?" } else { text }, arch)?;
    }
    if arch.is_compat() {
        for (value, known) in reading.args.iter_mut().zip(&mut reading.known) {
            *value &= u64::from(u32::MAX);
            // Registers have no upper half there.
            *known |= !u64::from(u32::MAX);
        }
    }
    Ok(reading)
}

/// Those that get an object of System V's, with the index of that argument.
const GET: [(&str, usize); 3] = [("semget", 2), ("msgget", 1), ("shmget", 2)];

/// Whether the call has no closing parenthesis.
pub fn is_open(text: &str) -> bool {
    text.split_once('(').is_some_and(|(_, rest)| split(rest).behind.is_none())
}

impl Reading {
    /// One of which nothing is known but the number.
    pub fn unknown(nr: i32) -> Self {
        Self { nr, or_nr: None, args: [0; 6], known: [0; 6], gaps: [const { Gap::NotShown }; 6] }
    }

    fn put(&mut self, place: Place, text: &str, arch: Arch) -> Result<(), NotRead> {
        let (value, known, gap) = bits(text, arch);
        let halves = match place {
            Place::Nowhere => return Ok(()),
            Place::One { register, unit } => {
                let exact = value.is_multiple_of(unit) && (unit == 1 || gap == Gap::None);
                let known = if exact { known } else { 0 };
                [Some((register, value / unit, known, gap)), None]
            }
            Place::Short(register) => {
                let low = u64::from(u16::MAX);
                let gap = if gap == Gap::None { Gap::UpperBits } else { gap };
                [Some((register, value & low, known & low, gap)), None]
            }
            Place::Two([low, high]) => {
                let low = (low, value & u64::from(u32::MAX), known & u64::from(u32::MAX), gap.clone());
                [Some(low), Some((high, value >> 32, known >> 32, gap))]
            }
        };
        for (register, value, known, gap) in halves.into_iter().flatten() {
            let (Some(arg), Some(mask), Some(reason)) =
                (self.args.get_mut(register), self.known.get_mut(register), self.gaps.get_mut(register))
            else {
                return Err(NotRead::Arguments);
            };
            (*arg, *mask, *reason) = (value & known, known, gap);
        }
        Ok(())
    }
}

/// The bits of a mode that strace prints of every call that has one.
const MODE: u64 = 0xffff;

/// Whether a number has no more bits than those: modes are octal, and protocols in the order of the network.
fn is_mode(text: &str) -> bool {
    text.starts_with("htons(")
        || text
            .split('|')
            .any(|part| part.starts_with('0') && part.as_bytes().get(1).is_some_and(u8::is_ascii_digit))
}

/// The bits of an argument, which of them are known, and why not all.
fn bits(text: &str, arch: Arch) -> (u64, u64, Gap) {
    if value::is_address(text) {
        return (0, 0, Gap::Address);
    }
    match value::known(text, arch) {
        (bits, Some(missing)) => {
            let missing = missing.chars().take(MAX_TEXT).collect();
            // A number that is negative has no bits that are sure.
            let sure = if bits.cast_signed() < 0 { 0 } else { bits };
            (sure, sure, Gap::Text(missing))
        }
        (bits, None)
            if bits.cast_signed() < 0 && text.starts_with(|c: char| c == '-' || c.is_alphabetic()) =>
        {
            if arch.is_compat() || bits.cast_signed() < i32::MIN.into() {
                (bits, u64::MAX, Gap::None)
            } else {
                let low = u64::from(u32::MAX);
                (bits & low, low, Gap::UpperBits)
            }
        }
        (bits, None) if is_mode(text) => (bits & MODE, MODE, Gap::UpperBits),
        (bits, None) => (bits, u64::MAX, Gap::None),
    }
}

/// The number of a name, or of what strace calls a number without one.
fn number(name: &str, arch: Arch) -> Option<i32> {
    match name.strip_prefix("syscall_0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok().map(u32::cast_signed),
        None => arch.syscall_number(name),
    }
}

/// The number of the call that makes this one too.
fn multiplexer(name: &str, arch: Arch) -> Option<i32> {
    multiplexed(arch, name).map(|(nr, _)| nr.cast_signed())
}
