//! Texts that agents send and that not every engine can store.

/// The text with U+FFFD for each U+0000, which PostgreSQL stores in no text. What people name is refused instead.
pub(crate) fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_null_bytes_are_replaced() {
        assert_eq!(storable("a\0b\0".into()), "a\u{fffd}b\u{fffd}");
        assert_eq!(storable("\u{1}\u{7f}é\n".into()), "\u{1}\u{7f}é\n");
    }
}
