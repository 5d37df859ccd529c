//! The texts between the commas of a call.

/// What stands between the parentheses of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Split<'t> {
    /// The arguments, without space around them. Of a call that does not end, the last may be a part.
    pub texts: Vec<&'t str>,
    /// What is behind the parenthesis that ends the call; `None` where there is none.
    pub behind: Option<&'t str>,
    /// A bracket that closes what was not opened.
    pub unbalanced: Option<char>,
}

/// Splits what follows the opening parenthesis. In quotes, brackets and comments, and in what strace says behind a
/// descriptor in angle brackets, commas and parentheses do not count.
pub fn split(text: &str) -> Split<'_> {
    let bytes = text.as_bytes();
    let (mut place, mut start, mut depth) = (0, 0, 0usize);
    let (mut texts, mut unbalanced) = (Vec::new(), None);
    let mut push = |from: usize, to: usize, is_last: bool| {
        // All places are of ASCII.
        let text = text.get(from..to).unwrap_or_default().trim();
        if !(is_last && texts.is_empty() && text.is_empty()) {
            texts.push(text);
        }
    };
    while let Some(byte) = bytes.get(place) {
        let next = bytes.get(place + 1);
        match byte {
            b'"' => place = quoted(bytes, place),
            b'/' if next == Some(&b'*') => place = comment(bytes, place),
            b'<' if next == Some(&b'<') => place += 1,
            b'<' if place > 0 && bytes[place - 1].is_ascii_alphanumeric() => place = descriptor(bytes, place),
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                push(start, place, true);
                return Split { texts, behind: text.get(place + 1..), unbalanced };
            }
            b')' | b']' | b'}' => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => unbalanced = unbalanced.or(Some(char::from(*byte))),
            },
            b',' if depth == 0 => {
                push(start, place, false);
                start = place + 1;
            }
            _ => {}
        }
        place += 1;
    }
    push(start, bytes.len(), true);
    Split { texts, behind: None, unbalanced }
}

/// The name of an argument and the rest, where strace names it.
pub fn named(text: &str) -> Option<(&str, &str)> {
    let is_name =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    text.split_once('=').filter(|(name, _)| is_name(name))
}

/// The place of the quote that ends a string, or of the end of the text.
fn quoted(bytes: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    loop {
        match bytes.get(place) {
            Some(b'"') | None => return place,
            Some(b'\\') => place += 2,
            Some(_) => place += 1,
        }
    }
}

/// The last place of a comment. One may be in another.
pub fn comment(bytes: &[u8], start: usize) -> usize {
    let (mut place, mut depth) = (start, 0usize);
    while let Some(pair) = bytes.get(place..place + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth <= 1 => return place + 1,
            b"*/" => depth -= 1,
            _ => {
                place += 1;
                continue;
            }
        }
        place += 2;
    }
    bytes.len()
}

/// The place of the angle bracket that ends what is said of a descriptor. The arrow between two addresses is none; a
/// path has none that is not escaped.
fn descriptor(bytes: &[u8], start: usize) -> usize {
    let is_path = bytes.get(start + 1) == Some(&b'/');
    let (mut place, mut depth) = (start, 0usize);
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'\\' => place += 1,
            b'"' => place = quoted(bytes, place),
            b'-' if !is_path && bytes.get(place + 1) == Some(&b'>') => place += 1,
            b'<' => depth += 1,
            b'>' if depth <= 1 => return place,
            b'>' => depth -= 1,
            _ => {}
        }
        place += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commas_between_arguments_count() {
        let texts = |text| split(text).texts;
        assert_eq!(
            texts(r#"3</a,(b\76>, "x\",)", [{a=1, b=2}], 0x7 /* 3, ')' vars */, makedev(1, 2)) = 0"#),
            [r#"3</a,(b\76>"#, r#""x\",)""#, "[{a=1, b=2}]", "0x7 /* 3, ')' vars */", "makedev(1, 2)"]
        );
        assert_eq!(
            texts(r#"4<TCP:[127.0.0.1:1->127.0.0.1:2]>, 1</dev/pts/0<char 136:0>>, 5</x->, 1<<3, 7) = 0"#),
            ["4<TCP:[127.0.0.1:1->127.0.0.1:2]>", "1</dev/pts/0<char 136:0>>", "5</x->", "1<<3", "7"]
        );
        assert_eq!(texts(r#"6<UNIX-STREAM:[1->2,"/a>,b"]>, 1)"#), [r#"6<UNIX-STREAM:[1->2,"/a>,b"]>"#, "1"]);
        assert_eq!(texts("1 /* a(0 /* b */, 2) */, 3) = 0"), ["1 /* a(0 /* b */, 2) */", "3"]);
        assert_eq!(split(") = 1"), Split { texts: vec![], behind: Some(" = 1"), unbalanced: None });
        assert_eq!(split("1, "), Split { texts: vec!["1", ""], behind: None, unbalanced: None });
        assert_eq!(split("1], 2)").unbalanced, Some(']'));
    }
}
