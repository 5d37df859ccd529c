//! Why an object file cannot be used.

use std::error::Error;
use std::fmt;

use cbpf_translator::ebpf::Unsupported;
use seccomp_runtime::{AccessError, CreateError};

/// A byte of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Place {
    pub section: String,
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section {}, offset {:#x}", self.section, self.offset)
    }
}

/// Why an object file cannot be used. Names are those of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// The file is no ELF file, or a malformed one.
    Malformed(String),
    /// It is not one of 64 bits.
    Class,
    /// It is for a big-endian machine.
    BigEndian,
    /// It is code for another machine, by its number.
    Machine(u16),
    /// It is linked.
    Linked,
    /// It asks the loader to adapt it to the running kernel.
    CoRe,
    /// No global function is in a section of filters.
    NoFilter,
    /// Two filters have this name.
    TwoFilters(String),
    /// Its filters, each with all that it calls, have more instructions than this.
    TooLong(usize),
    /// There are several filters, and none is asked for by name.
    Ambiguous(Vec<String>),
    /// No filter has this name.
    UnknownFilter {
        /// The name.
        name: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// The size of a section of code is no whole number of instructions.
    Ragged(String),
    /// A function does not begin at an instruction of its section.
    Function(String),
    /// An instruction that is not run here.
    Insn {
        /// Where it is.
        at: Place,
        /// Which it is.
        which: Unsupported,
    },
    /// A call of an address in a register.
    IndirectCall(Place),
    /// A relocation of this type, or of an instruction that cannot have it.
    Relocation {
        /// Where it is.
        at: Place,
        /// The type.
        kind: u32,
    },
    /// A symbol that is not defined in the file.
    Undefined {
        /// Where it is used.
        at: Place,
        /// Its name.
        symbol: String,
    },
    /// A variable without a value that the linker was to merge with others.
    Common {
        /// Where it is used.
        at: Place,
        /// Its name.
        symbol: String,
    },
    /// Something in a section of which nothing is known.
    Section {
        /// Where it is used.
        at: Place,
        /// The section that it is in.
        section: String,
    },
    /// The address of a function, other than to call it.
    FunctionAddress {
        /// Where it is taken.
        at: Place,
        /// The function.
        symbol: String,
    },
    /// A call to where no function begins.
    Call(Place),
    /// An address that is not one of the first byte of a map, or of a byte of a variable.
    Address {
        /// Where it is taken.
        at: Place,
        /// The section that it is in.
        section: String,
        /// The byte of that section.
        offset: i64,
    },
    /// A variable is to hold an address.
    DataAddress(Place),
    /// A section of variables has no bytes in the file.
    NoData(String),
    /// The description of types is malformed.
    Btf(&'static str),
    /// A map cannot be made.
    Map {
        /// Its name.
        map: String,
        /// What is wrong with it.
        why: MapProblem,
    },
}

/// What is wrong with a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapProblem {
    /// It is in `.maps`, and nothing describes it.
    NoBtf,
    /// Its type has another shape.
    Shape,
    /// A member that means nothing here.
    Member(String),
    /// A member whose type is not that of its macro.
    MemberShape(String),
    /// A member has a value that means nothing.
    MemberValue(String, u32),
    /// A member is missing.
    Missing(&'static str),
    /// The type of keys or values has not the size that the definition gives.
    Sizes(&'static str),
    /// No map of this project has this number of Linux's.
    Kind(u32),
    /// Flags that mean nothing here.
    Flags(u32),
    /// The definition reaches past its section.
    Cut,
    /// Fields behind the flags are not 0.
    Fields,
    /// It cannot be made.
    Create(CreateError),
    /// It cannot be given its first value.
    Initial(AccessError),
    /// A section of variables is larger than a value can be.
    TooLarge(u64),
}

/// What to do about an instruction that is not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice(pub Unsupported);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Unsupported::Atomic => "use plain loads and stores, or one value for each thread in task storage",
            Unsupported::LoadAbs | Unsupported::LoadInd => "there are no packets",
            _ => "it is one of -mcpu=v4, compile with -mcpu=v3",
        })
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "not a readable ELF file: {why}"),
            Self::Class => f.write_str("a 32-bit ELF file, eBPF has 64: compile with clang -target bpf"),
            Self::BigEndian => f.write_str("a big-endian object: compile with clang -target bpfel"),
            Self::Machine(number) => {
                write!(f, "an object for machine {number}, eBPF is 247: compile with clang -target bpf")
            }
            Self::Linked => f.write_str("a linked file, not an object: compile with clang -c"),
            Self::CoRe => f.write_str(
                "section .BTF.ext has CO-RE relocations, and there are no kernel types here: \
                 leave preserve_access_index out",
            ),
            Self::NoFilter => {
                f.write_str("no filter: no global function is in a section seccomp or seccomp/NAME")
            }
            Self::TwoFilters(name) => write!(f, "two filters are called {name}"),
            Self::TooLong(most) => {
                write!(
                    f,
                    "the filters, each with the functions that it calls, have more than {most} instructions"
                )
            }
            Self::Ambiguous(names) => write!(f, "several filters, name one of {}", names.join(", ")),
            Self::UnknownFilter { name, names } => {
                write!(f, "no filter is called {name}, there is {}", names.join(", "))
            }
            Self::Ragged(section) => write!(f, "section {section} ends within an instruction"),
            Self::Function(name) => write!(f, "function {name} does not begin at an instruction"),
            Self::Insn { at, which } => {
                write!(f, "{at}: {} is not supported: {}", which.name(), Advice(*which))
            }
            Self::IndirectCall(at) => {
                write!(f, "{at}: a call through a pointer: call functions and helpers by name")
            }
            Self::Relocation { at, kind } => {
                write!(f, "{at}: relocation of type {kind} means nothing there")
            }
            Self::Undefined { at, symbol } => write!(f, "{at}: {symbol} is not defined in this object"),
            Self::Common { at, symbol } => {
                write!(f, "{at}: {symbol} is a common symbol: compile with -fno-common")
            }
            Self::Section { at, section } => {
                write!(f, "{at}: refers to section {section}, which has no maps, variables or functions")
            }
            Self::FunctionAddress { at, symbol } => {
                write!(f, "{at}: takes the address of a function, {symbol}: functions can only be called")
            }
            Self::Call(at) => write!(f, "{at}: a call to where no function begins"),
            Self::Address { at, section, offset } => {
                write!(f, "{at}: refers to offset {offset} of section {section}, where nothing begins")
            }
            Self::DataAddress(at) => {
                write!(f, "{at}: a variable holds an address: only numbers can be in variables")
            }
            Self::NoData(section) => write!(f, "section {section} has no data in the file"),
            Self::Btf(why) => write!(f, "section .BTF: {why}"),
            Self::Map { map, why } => write!(f, "map {map}: {why}"),
        }
    }
}

impl fmt::Display for MapProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBtf => f.write_str("section .BTF does not describe it: compile with clang -g"),
            Self::Shape => f.write_str("its type is no struct of __uint() and __type() members"),
            Self::Member(name) => write!(f, "member {name} means nothing here"),
            Self::MemberShape(name) => {
                write!(f, "member {name} has not the type that __uint() or __type() gives it")
            }
            Self::MemberValue(name, value) => write!(f, "member {name} cannot be {value}"),
            Self::Missing(name) => write!(f, "member {name} is missing"),
            Self::Sizes(name) => write!(f, "{name} and {name}_size differ"),
            Self::Kind(number) => write!(
                f,
                "type {number} is not supported: hash 1, array 2, LRU hash 9, ring buffer 27 and task storage 29 are"
            ),
            Self::Flags(flags) => write!(f, "map_flags {} are not supported", FlagNames(*flags)),
            Self::Cut => f.write_str("its struct bpf_map_def is cut short"),
            Self::Fields => f.write_str("fields behind map_flags are not 0: nothing is pinned here"),
            Self::Create(error) => error.fmt(f),
            Self::Initial(error) => write!(f, "first value: {error}"),
            Self::TooLarge(size) => write!(f, "{size} bytes of variables, more than a value can have"),
        }
    }
}

/// Flags of maps, as Linux calls them.
struct FlagNames(u32);

impl fmt::Display for FlagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 13] = [
            "BPF_F_NO_PREALLOC",
            "BPF_F_NO_COMMON_LRU",
            "BPF_F_NUMA_NODE",
            "BPF_F_RDONLY",
            "BPF_F_WRONLY",
            "BPF_F_STACK_BUILD_ID",
            "BPF_F_ZERO_SEED",
            "BPF_F_RDONLY_PROG",
            "BPF_F_WRONLY_PROG",
            "BPF_F_CLONE",
            "BPF_F_MMAPABLE",
            "BPF_F_PRESERVE_ELEMS",
            "BPF_F_INNER_MAP",
        ];
        let mut separator = "";
        for bit in (0..u32::BITS).filter(|bit| self.0 >> bit & 1 == 1) {
            match NAMES.get(bit as usize) {
                Some(name) => write!(f, "{separator}{name}")?,
                None => write!(f, "{separator}{:#x}", 1_u32 << bit)?,
            }
            separator = " and ";
        }
        Ok(())
    }
}

impl Error for ObjectError {}
