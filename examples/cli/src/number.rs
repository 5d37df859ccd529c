//! Numbers as people write them.

use std::error::Error;
use std::fmt;
use std::num::{IntErrorKind, ParseIntError};

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// It is something else.
    Malformed,
    /// It needs more than this many bits.
    Range { bits: u32 },
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a number"),
            Self::Range { bits } => write!(f, "does not fit {bits} bits"),
        }
    }
}

impl Error for NumberError {}

/// A number of up to 64 bits: decimal, or hexadecimal after `0x`, with or without a minus.
///
/// It is from -2^(bits-1) to 2^bits - 1, the range of assembler text; one below 0 becomes its two's
/// complement of 64 bits.
pub fn parse(text: &str, bits: u32) -> Result<u64, NumberError> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let magnitude = match without_0x(magnitude) {
        Some(digits) => radix(digits, 16, bits)?,
        None => radix(magnitude, 10, bits)?,
    };
    match negative {
        false => Ok(magnitude),
        true if magnitude <= 1 << (bits - 1) => Ok(magnitude.wrapping_neg()),
        true => Err(NumberError::Range { bits }),
    }
}

/// A hexadecimal number of up to `bits` bits, with or without `0x`.
pub fn hex(text: &str, bits: u32) -> Result<u64, NumberError> {
    radix(without_0x(text).unwrap_or(text), 16, bits)
}

/// The byte that two hexadecimal digits are.
pub fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = str::from_utf8(digits).ok().filter(|text| text.len() == 2)?;
    radix(text, 16, u8::BITS).ok().map(|byte| byte as u8)
}

/// The number of a system call. Its 32 bits may be written as a signed or an unsigned number.
pub fn syscall(text: &str) -> Result<i32, NumberError> {
    Ok((parse(text, 32)? as u32).cast_signed())
}

fn without_0x(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

fn radix(digits: &str, radix: u32, bits: u32) -> Result<u64, NumberError> {
    // `from_str_radix` would take a plus.
    if digits.starts_with('+') {
        return Err(NumberError::Malformed);
    }
    let out_of_range = NumberError::Range { bits };
    let value = u64::from_str_radix(digits, radix).map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => out_of_range,
        _ => NumberError::Malformed,
    })?;
    if value <= u64::MAX >> (64 - bits) { Ok(value) } else { Err(out_of_range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bases_and_signs() {
        assert_eq!(parse("39", 32), Ok(39));
        assert_eq!(parse("0x27", 32), Ok(39));
        assert_eq!(parse("-0x1", 64), Ok(u64::MAX));
        assert_eq!(parse("0xffffffffffffffff", 64), Ok(u64::MAX));
        assert_eq!(parse("-9223372036854775808", 64), Ok(1 << 63));
        assert_eq!(hex("c000003e", 32), hex("0xC000003E", 32));
        assert_eq!((syscall("-1"), syscall("0xffffffff")), (Ok(-1), Ok(-1)));
        assert_eq!(syscall("-2147483648"), Ok(i32::MIN));
    }

    #[test]
    fn what_is_no_number() {
        for text in ["", "-", "+1", "0x", "0x+1", "--1", "1 ", "ten", "-0x", "１"] {
            assert_eq!(parse(text, 64), Err(NumberError::Malformed), "{text}");
        }
        for text in ["4294967296", "0x100000000", "-2147483649", "99999999999999999999999"] {
            assert_eq!(parse(text, 32), Err(NumberError::Range { bits: 32 }), "{text}");
        }
        assert_eq!(parse("-9223372036854775809", 64), Err(NumberError::Range { bits: 64 }));
        assert_eq!(hex("-1", 64), Err(NumberError::Malformed));
        for digits in ["", "f", "+f", "-f", "0x", "fff", "é", "zz"] {
            assert_eq!(hex_byte(digits.as_bytes()), None, "{digits}");
        }
        assert_eq!(hex_byte(b"fF"), Some(0xff));
    }
}
