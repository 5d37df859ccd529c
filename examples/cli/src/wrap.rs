//! Lists of words, as terminals show them well.

/// The words behind `begin`, with a blank between two. A line that would be longer than `columns` ends before a
/// word, and the next begins with `indent`. No word is split.
pub fn wrapped<W: AsRef<str>>(
    begin: &str,
    words: impl IntoIterator<Item = W>,
    indent: &str,
    columns: Option<usize>,
) -> String {
    let mut text = begin.to_owned();
    let mut width = begin.chars().count();
    let mut is_first = true;
    for word in words {
        let word = word.as_ref();
        let len = word.chars().count();
        if !is_first && columns.is_some_and(|columns| width + 1 + len > columns) {
            text.push('\n');
            text.push_str(indent);
            width = indent.chars().count();
        } else if !is_first {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += len;
        is_first = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_before_a_word() {
        let words = ["read", "write", "close", "a_name_longer_than_a_line", "x"];
        let rows = [
            (None, "  read write close a_name_longer_than_a_line x"),
            (Some(12), "  read write\n  close\n  a_name_longer_than_a_line\n  x"),
            (Some(11), "  read\n  write\n  close\n  a_name_longer_than_a_line\n  x"),
            (Some(18), "  read write close\n  a_name_longer_than_a_line\n  x"),
            (Some(0), "  read\n  write\n  close\n  a_name_longer_than_a_line\n  x"),
        ];
        for (columns, text) in rows {
            assert_eq!(wrapped("  ", words, "  ", columns), text, "{columns:?}");
        }
        assert_eq!(wrapped("  numbers ", ["1,", "2"], "    ", Some(11)), "  numbers 1,\n    2");
        assert_eq!(wrapped("none", [""; 0], "  ", Some(1)), "none");
    }
}
