//! Bytes as text the way Java decodes UTF-8: what is malformed becomes U+FFFD.

use std::borrow::Cow;

/// The text. Rust and Java agree on where a replacement stands, but for surrogates that were encoded as if they were
/// characters (`ED A0..BF xx`): Java replaces the three bytes at once, Rust each of them.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let mut rest = match std::str::from_utf8(bytes) {
        Ok(text) => return Cow::Borrowed(text),
        Err(_) => bytes,
    };
    let mut text = String::with_capacity(bytes.len());
    while let Err(error) = std::str::from_utf8(rest) {
        let (good, bad) = rest.split_at(error.valid_up_to());
        text.push_str(&String::from_utf8_lossy(good));
        text.push(char::REPLACEMENT_CHARACTER);
        let is_continuation = |b: Option<&u8>| b.is_some_and(|b| b & 0xc0 == 0x80);
        let length = match bad {
            [0xed, 0xa0..=0xbf, ..] if is_continuation(bad.get(2)) => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => error.error_len().unwrap_or(bad.len()),
        };
        rest = &bad[length..];
    }
    text.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_bytes_become_as_many_replacements_as_in_java() {
        for (bytes, replacements) in [
            (&b"\xff"[..], 1),
            (b"\xed\xa0\x80", 1),
            (b"\xed\xa0x", 1),
            (b"\xed\xa0", 1),
            (b"\xe0\x80\x80", 3),
            (b"\xf0\x80\x80\x80", 4),
            (b"\xc0\x80", 2),
            (b"\xe2\x82", 1),
            (b"\xf0\x9f\x98", 1),
            (b"\xed\xa0\x80\xed\xb0\x80", 2),
        ] {
            let text = decode(bytes);
            assert_eq!(text.matches('\u{fffd}').count(), replacements, "{bytes:x?}: {text}");
        }
        assert_eq!(decode("한a".as_bytes()), "한a");
        assert_eq!(decode(b"a\xffb"), "a\u{fffd}b");
    }
}
