//! What a register or a stack slot holds.
//!
//! A [`Value`] is nothing yet, a number, a map, or a pointer. A pointer is a region and a distance from its
//! first byte, which is a [`Scalar`] like any other, modulo 2^64; so a pointer that went out of its region and
//! came back is where it was. Nothing includes everything: what is not set may hold anything, and must not be
//! read. Otherwise a value includes another of its own kind only.

use core::fmt;

use super::scalar::Scalar;

/// Ties values that were copied from one another. 0 is none.
pub type Id = u32;

/// What a register or a stack slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing that may be read.
    Uninit,
    /// A number. Those with the same id are the same number.
    Scalar(Scalar, Id),
    /// The map at this index.
    Map(u32),
    /// An address.
    Pointer(Pointer),
}

/// An address: a byte of a region, or, while nobody has looked, perhaps null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Where it points.
    pub region: Region,
    /// Which region of its kind, and what null checks find out for all at once.
    pub id: Id,
    /// Whether it may be null instead.
    pub nullable: bool,
    /// The distance from the region's first byte, modulo 2^64; for a stack from its end.
    pub offset: Scalar,
}

/// Memory that a program may point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The system call's `seccomp_data`.
    Context,
    /// The stack of the function at this depth of the calls; the main program is 0.
    Stack(u32),
    /// A value of the map at this index.
    MapValue(u32),
    /// So many bytes that a helper gave.
    Memory(u32),
}

impl Value {
    /// A number that nothing else is tied to.
    pub const fn scalar(scalar: Scalar) -> Self {
        Self::Scalar(scalar, 0)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context => f.write_str("context"),
            Self::Stack(0) => f.write_str("stack"),
            Self::Stack(depth) => write!(f, "stack of call {depth}"),
            Self::MapValue(_) => f.write_str("map value"),
            Self::Memory(size) => write!(f, "memory of {size} bytes"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uninit => f.write_str("unset"),
            Self::Scalar(scalar, _) => scalar.fmt(f),
            Self::Map(map) => write!(f, "map[{map}]"),
            Self::Pointer(Pointer { region, offset, nullable, .. }) => {
                region.fmt(f)?;
                if *nullable {
                    f.write_str(" or null")?;
                }
                if offset.known() != Some(0) { write!(f, "+{offset}") } else { Ok(()) }
            }
        }
    }
}
