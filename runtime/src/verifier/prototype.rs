//! What helpers take and give.

use core::error::Error;
use core::fmt;

use cbpf_translator::ebpf::Reg;

use super::environment::MapKind;

/// A function of the kernel that a program may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its number in the call instruction; Linux's where Linux has it.
    pub id: i32,
    /// What it takes and gives.
    pub prototype: Prototype,
}

/// What a helper takes in r1 to r5, and gives in r0.
///
/// Having one tells that it can be read in one way only: each argument that belongs to another names it, and that is what
/// it has to be. The verifier and the check of what a helper gives look at the same argument.
///
/// The helper may rely on its arguments being what the prototype says, and on nothing else. The verifier
/// relies on the helper's giving what [`returns`](Self::returns) says and on its writing nothing but what is marked
/// writable, and that whole; each call is held to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    args: [Arg; 5],
    returns: Return,
}

/// What a helper's argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Not looked at.
    None,
    /// Any number; no pointer.
    Number,
    /// The context, from its first byte.
    Context,
    /// A map of one of these kinds; `writes` if the helper changes it.
    Map {
        /// The kinds.
        kinds: &'static [MapKind],
        /// Whether it must not be read-only.
        writes: bool,
    },
    /// As many bytes to read as a key of this map has.
    Key {
        /// An [`Arg::Map`] whose kinds all have keys.
        map: Reg,
    },
    /// As many bytes to read as a value of this map has.
    Value {
        /// An [`Arg::Map`] whose kinds all have values.
        map: Reg,
    },
    /// As many bytes to read as this size says.
    Readable {
        /// An [`Arg::Size`] or an [`Arg::ConstSize`].
        size: Reg,
    },
    /// As many bytes to write as this size says. They need not have been set before, and are after.
    Writable {
        /// An [`Arg::Size`] or an [`Arg::ConstSize`].
        size: Reg,
    },
    /// So many bytes to read.
    ReadableFixed(u32),
    /// So many bytes to write.
    WritableFixed(u32),
    /// A size in bytes, with an upper bound.
    Size {
        /// Whether it may be 0.
        zero: bool,
    },
    /// A size in bytes that is the same on every run, and not 0.
    ConstSize,
}

/// What a helper gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Nothing; r0 must not be read.
    Void,
    /// Any number.
    Number,
    /// A number from -4095 to this size.
    LengthOrErrno {
        /// An [`Arg::Size`] or an [`Arg::ConstSize`].
        size: Reg,
    },
    /// The address of a value of this map, or null.
    MapValueOrNull {
        /// An [`Arg::Map`] whose kinds all have values.
        map: Reg,
    },
    /// The address of so much memory, or null. It begins at a multiple of 8 and stays until the program ends.
    MemoryOrNull {
        /// An [`Arg::ConstSize`].
        size: Reg,
    },
}

/// Why arguments and a result are no prototype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrototypeError {
    /// A key, a value or the result is said to be of the map in this register, and there is none.
    NotMap(Reg),
    /// It is said to be of the map in this register, of which one of the kinds has no such thing.
    MapKind(Reg),
    /// Memory or the result is said to be measured by this register, and that is no size, or none that is the same on
    /// every run where it has to be.
    NotSize(Reg),
    /// The size in this register measures nothing.
    Unused(Reg),
}

impl fmt::Display for PrototypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMap(reg) => write!(f, "{reg} is said to be a map and is none"),
            Self::MapKind(reg) => {
                write!(f, "the map in {reg} may be of a kind that has no such key or value")
            }
            Self::NotSize(reg) => write!(f, "{reg} is said to be a size and is none"),
            Self::Unused(reg) => write!(f, "the size in {reg} measures nothing"),
        }
    }
}

impl Error for PrototypeError {}

impl Prototype {
    /// The prototype of these arguments, from r1, and this result.
    ///
    /// # Errors
    ///
    /// They can be read in more than one way, or in none: see [`PrototypeError`].
    pub const fn new(args: [Arg; 5], returns: Return) -> Result<Self, PrototypeError> {
        let prototype = Self { args, returns };
        match prototype.check() {
            Ok(()) => Ok(prototype),
            Err(error) => Err(error),
        }
    }

    /// The arguments, from r1.
    pub const fn args(&self) -> [Arg; 5] {
        self.args
    }

    /// The result.
    pub const fn returns(&self) -> Return {
        self.returns
    }

    /// What the argument in a register has to be: nothing, if it is in none of r1 to r5.
    pub(crate) const fn arg(&self, reg: Reg) -> Arg {
        let [r1, r2, r3, r4, r5] = self.args;
        match reg {
            Reg::R1 => r1,
            Reg::R2 => r2,
            Reg::R3 => r3,
            Reg::R4 => r4,
            Reg::R5 => r5,
            _ => Arg::None,
        }
    }

    // `?` and `==` are not for constants.
    const fn check(&self) -> Result<(), PrototypeError> {
        let result = match self.returns {
            Return::Void | Return::Number => Ok(()),
            Return::LengthOrErrno { size } => self.check_size(size, false),
            Return::MapValueOrNull { map } => self.check_map(map, false),
            Return::MemoryOrNull { size } => self.check_size(size, true),
        };
        if result.is_err() {
            return result;
        }
        let mut rest: &[Reg] = &Reg::ARGUMENTS;
        while let [reg, behind @ ..] = rest {
            let result = match self.arg(*reg) {
                Arg::Key { map } => self.check_map(map, true),
                Arg::Value { map } => self.check_map(map, false),
                Arg::Readable { size } | Arg::Writable { size } => self.check_size(size, false),
                Arg::Size { .. } | Arg::ConstSize if !self.measures(*reg) => {
                    Err(PrototypeError::Unused(*reg))
                }
                _ => Ok(()),
            };
            if result.is_err() {
                return result;
            }
            rest = behind;
        }
        Ok(())
    }

    /// That a register has a map, with keys or with values.
    const fn check_map(&self, map: Reg, keys: bool) -> Result<(), PrototypeError> {
        let Arg::Map { kinds, .. } = self.arg(map) else { return Err(PrototypeError::NotMap(map)) };
        let mut rest = kinds;
        while let [kind, behind @ ..] = rest {
            if keys && !kind.has_keys() || !kind.has_values() {
                return Err(PrototypeError::MapKind(map));
            }
            rest = behind;
        }
        Ok(())
    }

    const fn check_size(&self, size: Reg, constant: bool) -> Result<(), PrototypeError> {
        match self.arg(size) {
            Arg::ConstSize => Ok(()),
            Arg::Size { .. } if !constant => Ok(()),
            _ => Err(PrototypeError::NotSize(size)),
        }
    }

    /// Whether something is as long as the size in a register.
    const fn measures(&self, reg: Reg) -> bool {
        let mut measures = match self.returns {
            Return::LengthOrErrno { size } | Return::MemoryOrNull { size } => is_same(size, reg),
            _ => false,
        };
        let mut rest: &[Arg] = &self.args;
        while let [arg, behind @ ..] = rest {
            if let Arg::Readable { size } | Arg::Writable { size } = arg {
                measures |= is_same(*size, reg);
            }
            rest = behind;
        }
        measures
    }
}

const fn is_same(a: Reg, b: Reg) -> bool {
    a.number() == b.number()
}
