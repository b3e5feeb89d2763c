//! Numbers of any length with a decimal point: the values of Kafka's logical type `Decimal`.

use std::fmt;

/// `unscaled` × 10^-`scale`. Two are equal when both parts are: 1.0 and 1.00 are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Two's complement, big-endian, never empty, as short as can be: what `Decimal` is on the wire.
    unscaled: Vec<u8>,
    scale: i32,
}

impl Decimal {
    /// Takes two's complement in big-endian order; nothing at all is zero.
    pub fn new(unscaled: impl Into<Vec<u8>>, scale: i32) -> Decimal {
        let mut unscaled = unscaled.into();
        let needless =
            unscaled.windows(2).take_while(|pair| matches!((pair[0], pair[1] & 0x80), (0, 0) | (0xff, 0x80))).count();
        unscaled.drain(..needless);
        if unscaled.is_empty() {
            unscaled.push(0);
        }
        Decimal { unscaled, scale }
    }

    /// Reads decimal digits with an optional sign, point and exponent (`-1.50`, `2E+3`), as Java's `BigDecimal` does.
    /// None when they are not that, or when there are more than `DIGITS_MAX` of them.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, whole(exponent)?),
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [integer, fraction].concat();
        if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scale = i32::try_from(fraction.len() as i64 - exponent).ok()?;
        let mut magnitude = binary(&digits);
        // Room for the sign.
        magnitude.insert(0, 0);
        if negative {
            negate(&mut magnitude);
        }
        Some(Decimal::new(magnitude, scale))
    }

    /// Two's complement, big-endian.
    pub fn unscaled(&self) -> &[u8] {
        &self.unscaled
    }

    /// Digits after the point; negative for trailing zeros that are left out.
    pub fn scale(&self) -> i32 {
        self.scale
    }

    pub fn is_negative(&self) -> bool {
        self.unscaled[0] & 0x80 != 0
    }

    /// The decimal digits of the unscaled number, without its sign.
    pub fn digits(&self) -> String {
        digits(&self.unscaled, self.is_negative())
    }
}

impl From<i64> for Decimal {
    fn from(n: i64) -> Decimal {
        Decimal::new(n.to_be_bytes(), 0)
    }
}

/// As Java's `BigDecimal` prints itself: with an exponent when zeros would have to be made up.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        f.write_str(if self.is_negative() { "-" } else { "" })?;
        if self.scale == 0 {
            return f.write_str(&digits);
        }
        let scale = i64::from(self.scale);
        let exponent = digits.len() as i64 - 1 - scale;
        if scale < 0 || exponent < -6 {
            f.write_str(&digits[..1])?;
            if digits.len() > 1 {
                write!(f, ".{}", &digits[1..])?;
            }
            return if exponent == 0 { Ok(()) } else { write!(f, "E{exponent:+}") };
        }
        // At most six zeros are put before the digits.
        let width = self.scale as usize + 1;
        let padded = format!("{digits:0>width$}");
        let point = padded.len() - self.scale as usize;
        write!(f, "{}.{}", &padded[..point], &padded[point..])
    }
}

/// The most digits that are read; turning them into binary takes time that grows with their square.
const DIGITS_MAX: usize = 10_000;

/// An exponent: digits with an optional sign.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let n = match digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() <= 10 {
        true => digits.parse::<i64>().ok()?,
        false => return None,
    };
    Some(if text.starts_with('-') { -n } else { n })
}

/// The big-endian bytes of decimal digits.
fn binary(digits: &str) -> Vec<u8> {
    // Least significant first.
    let mut words: Vec<u32> = Vec::new();
    for group in digits.as_bytes().chunks(9) {
        let factor = 10u64.pow(group.len() as u32);
        let mut carry = group.iter().fold(0u64, |n, digit| n * 10 + u64::from(digit - b'0'));
        for word in &mut words {
            let here = u64::from(*word) * factor + carry;
            *word = here as u32;
            carry = here >> 32;
        }
        if carry > 0 {
            words.push(carry as u32);
        }
    }
    words.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

/// The two's complement of the negated number.
fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
    }
}

/// The decimal digits of a number's magnitude.
fn digits(unscaled: &[u8], negative: bool) -> String {
    let mut magnitude = unscaled.to_vec();
    if negative {
        negate(&mut magnitude);
    }
    // Nine digits at a time, from the end.
    let mut groups = Vec::new();
    while magnitude.iter().any(|b| *b != 0) {
        let mut rest: u64 = 0;
        for byte in &mut magnitude {
            let here = rest << 8 | u64::from(*byte);
            *byte = (here / 1_000_000_000) as u8;
            rest = here % 1_000_000_000;
        }
        groups.push(rest);
    }
    let mut text = groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_as_java_writes_them() {
        for (unscaled, scale, text) in [
            (&[0x30, 0x39][..], 2, "123.45"),
            (&[0xff], 2, "-0.01"),
            (&[], 0, "0"),
            (&[], 2, "0.00"),
            (&[5], -2, "5E+2"),
            (&[12], -2, "1.2E+3"),
            (&[12], 7, "0.0000012"),
            (&[12], 9, "1.2E-8"),
            (&[0x80], 0, "-128"),
            (&[5], i32::MIN, "5E+2147483648"),
            (&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, "18446744073709551615"),
        ] {
            assert_eq!(Decimal::new(unscaled, scale).to_string(), text);
        }
    }

    #[test]
    fn texts_are_read_and_written_again() {
        for text in ["0", "1.50", "-1", "128", "-129", "123456789012345678901234567890.5", "5E+2", "1.2E-8", "0.00"] {
            assert_eq!(Decimal::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(Decimal::parse("+1e2"), Some(Decimal::new([1], -2)));
        assert_eq!(Decimal::parse("255").map(|d| d.unscaled().to_vec()), Some(vec![0, 255]));
        assert_eq!(Decimal::parse(".5"), Decimal::parse("0.5"));
        for bad in ["", "-", ".", "1x", "1e", "1e99999999999", "--1", "1.2.3", "1e2147483649", " 1", "٣"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
        assert_eq!(Decimal::parse(&"9".repeat(DIGITS_MAX + 1)), None);
    }
}
