//! Numbers of any length with a decimal point: the values of Kafka's logical type `Decimal`.

/// `unscaled` × 10^-`scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Two's complement, big-endian, never empty: what `Decimal` is on the wire.
    unscaled: Vec<u8>,
    scale: i32,
}

impl Decimal {
    /// Takes two's complement in big-endian order; nothing at all is zero.
    pub fn new(unscaled: impl Into<Vec<u8>>, scale: i32) -> Decimal {
        let mut unscaled = unscaled.into();
        if unscaled.is_empty() {
            unscaled.push(0);
        }
        Decimal { unscaled, scale }
    }

    /// Two's complement, big-endian.
    pub fn unscaled(&self) -> &[u8] {
        &self.unscaled
    }

    /// Digits after the point; negative for trailing zeros that are left out.
    pub fn scale(&self) -> i32 {
        self.scale
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let negative = self.unscaled[0] & 0x80 != 0;
        let digits = digits(&self.unscaled, negative);
        f.write_str(if negative { "-" } else { "" })?;
        if self.scale <= 0 {
            let zeros = if digits == "0" { 0 } else { self.scale.unsigned_abs() as usize };
            // Nobody writes out what a hostile scale asks for.
            return match zeros {
                0..=MAX_ZEROS => write!(f, "{digits}{}", "0".repeat(zeros)),
                _ => write!(f, "{digits}E+{zeros}"),
            };
        }
        let scale = self.scale as usize;
        if scale > digits.len() + MAX_ZEROS {
            return write!(f, "{digits}E-{scale}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        write!(f, "{}.{}", &padded[..padded.len() - scale], &padded[padded.len() - scale..])
    }
}

/// The longest run of zeros that is written out.
const MAX_ZEROS: usize = 1000;

/// The decimal digits of a number's magnitude.
fn digits(unscaled: &[u8], negative: bool) -> String {
    let mut magnitude = unscaled.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
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
    fn decimals_are_written_out() {
        for (unscaled, scale, text) in [
            (&[0x30, 0x39][..], 2, "123.45"),
            (&[0xff], 2, "-0.01"),
            (&[], 0, "0"),
            (&[5], -2, "500"),
            (&[0x80], 0, "-128"),
            (&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, "18446744073709551615"),
        ] {
            assert_eq!(Decimal::new(unscaled, scale).to_string(), text);
        }
    }
}
