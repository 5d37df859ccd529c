//! What extensions ask where no program makes the calls: this process answers.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::process;

use nix::sys::prctl;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Uid};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use seccomp_runtime::{HelperHost, TaskScope, UserFault};

use crate::extension::seed;
use crate::number;

/// This process, with the user memory that is given.
#[derive(Debug)]
pub struct ThisProcess {
    memory: Vec<Memory>,
}

/// User memory that a filter can read.
#[derive(Clone, Debug)]
pub struct Memory {
    address: u64,
    bytes: Vec<u8>,
}

impl Memory {
    /// Reads `ADDRESS=TEXT`, in which C's escapes have their meaning. A 0 follows the text, as in C.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, text) = text.split_once('=').ok_or("ADDRESS=TEXT is needed")?;
        let address = number::parse(address, u64::BITS).map_err(|error| format!("{address:?}: {error}"))?;
        let mut bytes = unescaped(text)?;
        bytes.push(0);
        match address.checked_add(bytes.len() as u64) {
            Some(_) => Ok(Self { address, bytes }),
            None => Err("it goes beyond the end of memory".into()),
        }
    }
}

/// Memory is there in pages; where nothing was put, it is 0.
const PAGE: u64 = 4096;

impl Memory {
    fn byte(&self, address: u64) -> Option<u8> {
        self.bytes.get(usize::try_from(address.checked_sub(self.address)?).ok()?).copied()
    }

    fn is_on_page_of(&self, address: u64) -> bool {
        let last = self.address + (self.bytes.len() as u64 - 1);
        (self.address / PAGE..=last / PAGE).contains(&(address / PAGE))
    }
}

/// The bytes of a text with `\xNN`, `\0`, `\n`, `\t` and `\\`.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        (rest, _) = match (first, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let byte = number::hex_byte(&[*high, *low]).ok_or("\\x needs two hexadecimal digits")?;
                (behind, bytes.push(byte))
            }
            (b'\\', [b'0', behind @ ..]) => (behind, bytes.push(0)),
            (b'\\', [b'n', behind @ ..]) => (behind, bytes.push(b'\n')),
            (b'\\', [b't', behind @ ..]) => (behind, bytes.push(b'\t')),
            (b'\\', [b'\\', behind @ ..]) => (behind, bytes.push(b'\\')),
            (b'\\', _) => return Err("after \\ comes x and two digits, 0, n, t or \\".into()),
            (other, behind) => (behind, bytes.push(*other)),
        };
    }
    Ok(bytes)
}

impl ThisProcess {
    /// With this user memory; where two overlap, the first counts.
    pub fn new(memory: Vec<Memory>) -> Self {
        Self { memory }
    }

    /// Now, as every engine is to find it.
    pub fn moment(&self) -> Moment<'_> {
        Moment { process: self, now: monotonic_ns(), seed: seed()[0] }
    }
}

/// A moment at which engines run the same filters on the same call: they are told the same.
pub struct Moment<'p> {
    process: &'p ThisProcess,
    now: u64,
    seed: u64,
}

/// What one engine asks at a moment.
pub struct Asked<'m> {
    moment: &'m Moment<'m>,
    random: RefCell<SmallRng>,
    tells: bool,
}

impl Moment<'_> {
    /// For the engine whose lines are printed.
    pub fn told(&self) -> Asked<'_> {
        Asked { moment: self, random: RefCell::new(SmallRng::seed_from_u64(self.seed)), tells: true }
    }

    /// For an engine whose lines are those of another.
    pub fn untold(&self) -> Asked<'_> {
        Asked { tells: false, ..self.told() }
    }
}

impl HelperHost for Asked<'_> {
    fn monotonic_ns(&self) -> u64 {
        self.moment.now
    }

    fn pid(&self) -> u32 {
        process::id()
    }

    fn tgid(&self) -> u32 {
        process::id()
    }

    fn uid(&self) -> u32 {
        Uid::current().as_raw()
    }

    fn gid(&self) -> u32 {
        Gid::current().as_raw()
    }

    fn comm(&self) -> [u8; 16] {
        // Linux refuses nobody its own name.
        prctl::get_name().map_or([0; 16], |name| comm(name.to_bytes()))
    }

    fn task(&self, _: TaskScope) -> u64 {
        process::id().into()
    }

    fn random(&self) -> u32 {
        self.random.borrow_mut().next_u32()
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        let memory = &self.moment.process.memory;
        to.iter_mut().zip(0..).try_for_each(|(to, offset)| {
            let address = from.checked_add(offset).ok_or(UserFault)?;
            let mut of_page = memory.iter().filter(|memory| memory.is_on_page_of(address)).peekable();
            of_page.peek().ok_or(UserFault)?;
            *to = of_page.find_map(|memory| memory.byte(address)).unwrap_or(0);
            Ok(())
        })
    }

    fn trace(&self, line: &str) {
        if self.tells {
            trace(line);
        }
    }
}

/// CLOCK_MONOTONIC, which every Linux has.
pub fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// A thread's name, as its file in `/proc` has it.
pub fn comm(file: &[u8]) -> [u8; 16] {
    let name = file.strip_suffix(b"\n").unwrap_or(file);
    let mut comm = [0; 16];
    // The last byte ends it.
    for (to, from) in comm.iter_mut().take(15).zip(name) {
        *to = *from;
    }
    comm
}

/// Bits that nobody can predict.
pub fn random() -> u32 {
    seed()[0] as u32
}

/// A line that a filter prints, to standard error. A terminal takes no commands from it.
pub fn trace(line: &str) {
    tell(format_args!("trace: {}\n", line.escape_debug()));
}

/// Writes to standard error. Where nobody reads that, what runs goes on all the same.
pub fn tell(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_was_put_there_and_zeroes_to_the_end_of_its_pages() {
        let process = ThisProcess::new(vec![Memory::parse("0x1ffe=a\\tb\\x7f\\\\\\0\\n").unwrap()]);
        let moment = process.moment();
        let asked = moment.told();
        let read = |from| {
            let mut bytes = [0xff; 10];
            asked.copy_from_user(from, &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(0x1ffe), Ok(*b"a\tb\x7f\\\0\n\0\0\0"));
        assert_eq!(read(0x1000), Ok([0; 10]));
        assert_eq!(read(0x2ff6), Ok([0; 10]));
        let process = ThisProcess::new(vec![Memory::parse("0x4fff=a").unwrap()]);
        let mut bytes = [0xff; 2];
        // What ends the text is there too.
        assert_eq!(process.moment().told().copy_from_user(0x4fff, &mut bytes), Ok(()));
        assert_eq!(bytes, *b"a\0");
        assert_eq!([read(0x2ff7), read(0xfff), read(u64::MAX)], [Err(UserFault); 3]);
    }

    #[test]
    fn a_name_is_ended_by_a_0() {
        assert_eq!(comm(b"sh\n"), *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(comm(b"sixteen-letters!\n"), *b"sixteen-letters\0");
    }
}
