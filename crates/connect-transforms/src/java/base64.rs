//! Base64 with padding and without line feeds.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text for bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let character = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { character as char } else { '=' });
        }
    }
    text
}

/// The bytes of a text; None when it is no base64 or its padding is missing. Blanks between groups of four are passed
/// over, as Jackson does.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text.bytes().peekable();
    loop {
        while rest.next_if(|b| *b <= b' ').is_some() {}
        if rest.peek().is_none() {
            return Some(bytes);
        }
        let group: Vec<u8> = rest.by_ref().take(4).collect();
        let padding = group.iter().rev().take_while(|b| **b == b'=').count();
        if group.len() < 4 || padding > 2 {
            return None;
        }
        let mut bits = 0u32;
        for character in &group[..4 - padding] {
            bits = bits << 6 | ALPHABET.iter().position(|a| a == character)? as u32;
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_texts() {
        for (bytes, text) in [(&b""[..], ""), (b"a", "YQ=="), (b"ab", "YWI="), (b"abc", "YWJj"), (b"\xff\xfe", "//4=")]
        {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
        assert_eq!(decode("YWJj YWI=").as_deref(), Some(&b"abcab"[..]));
        for bad in ["a", "YQ", "YQ=", "Y===", "Y*==", "é"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
