//! Numbers in texts, as Java's `parseInt` and `parseDouble` read them.

/// Digits with an optional sign and nothing else, within bounds.
pub fn integer(text: &str, least: i64, most: i64) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| (least..=most).contains(n))
}

/// A floating point number in decimal: blanks around it and a type's letter after it are passed over.
fn float(text: &str) -> Option<&str> {
    let text = text.trim_matches(|c| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if ["NaN", "Infinity"].contains(&unsigned) {
        return Some(text);
    }
    let text = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let decimal = unsigned.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.');
    decimal.then_some(text)
}

/// As `Double.parseDouble`, but for hexadecimal numbers, which are none.
pub fn float64(text: &str) -> Option<f64> {
    float(text)?.parse().ok()
}

/// As `Float.parseFloat`, but for hexadecimal numbers, which are none.
pub fn float32(text: &str) -> Option<f32> {
    float(text)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_digits_and_bounds() {
        assert_eq!(integer("+12", -128, 127), Some(12));
        assert_eq!(integer("-128", -128, 127), Some(-128));
        for bad in ["128", "", "+", " 1", "1.0", "0x1", "99999999999999999999"] {
            assert_eq!(integer(bad, -128, 127), None, "{bad}");
        }
    }

    #[test]
    fn floats_may_have_blanks_and_a_letter() {
        for (text, number) in
            [("1", 1.0), (" -1.5e3f ", -1500.0), (".5", 0.5), ("1.", 1.0), ("-Infinity", f64::NEG_INFINITY)]
        {
            assert_eq!(float64(text), Some(number), "{text}");
        }
        assert!(float64("NaN").is_some_and(f64::is_nan));
        for bad in ["", "x", "inf", "nan", "infinity", "1e", "0x1p3", "1ff", "d"] {
            assert_eq!(float64(bad), None, "{bad}");
        }
        assert_eq!(float32("0.1"), Some(0.1));
    }
}
