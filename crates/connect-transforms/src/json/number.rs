//! What a JSON value is as a number: Jackson's narrowing, which never fails.

use super::Json;

impl Json {
    /// The whole part, of which the low 64 bits; what is no number is 0. Narrower types take the low bits of this.
    pub fn wrapping_i64(&self) -> i64 {
        match self {
            Json::Integer(text) => text.parse().unwrap_or_else(|_| low_bits(text)),
            Json::Fraction(text) => low_bits(text),
            _ => 0,
        }
    }

    /// The nearest number, or an infinity; what is no number is 0.
    pub fn f64(&self) -> f64 {
        self.nonzero().and_then(|text| text.parse().ok()).unwrap_or(0.0)
    }

    /// The nearest number, or an infinity; what is no number is 0.
    pub fn f32(&self) -> f32 {
        self.nonzero().and_then(|text| text.parse().ok()).unwrap_or(0.0)
    }

    /// A number's text, if it is not zero: zero has no sign here.
    fn nonzero(&self) -> Option<&str> {
        let mantissa = |text: &str| {
            text.bytes().take_while(|b| !b.eq_ignore_ascii_case(&b'e')).any(|b| (b'1'..=b'9').contains(&b))
        };
        self.number().filter(|text| mantissa(text))
    }

    /// A number's text.
    pub fn number(&self) -> Option<&str> {
        match self {
            Json::Integer(text) | Json::Fraction(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number without fraction or exponent that an `i32` holds.
    pub fn i32(&self) -> Option<i32> {
        match self {
            Json::Integer(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// The low 64 bits of a number's whole part.
fn low_bits(text: &str) -> i64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let Ok(exponent) = exponent.parse::<i64>() else { return 0 };
    // Where the point stands among the digits, counted from the left.
    let point = whole.len() as i64 + exponent;
    let digits = whole.bytes().chain(fraction.bytes());
    let zeros = point - (whole.len() + fraction.len()) as i64;
    // Ten to the 64th has 64 zero bits at its end.
    if point <= 0 || zeros >= 64 {
        return 0;
    }
    let zeros = std::iter::repeat_n(b'0', zeros.max(0) as usize);
    let bits = digits
        .chain(zeros)
        .take(point as usize)
        .fold(0i64, |sum, digit| sum.wrapping_mul(10).wrapping_add(i64::from(digit.wrapping_sub(b'0'))));
    if negative { bits.wrapping_neg() } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_narrowed_to_their_low_bits() {
        let fraction = |text: &str| Json::Fraction(text.into()).wrapping_i64();
        assert_eq!(Json::Integer("123456789012345678901234567890".into()).wrapping_i64(), -4_362_896_299_872_285_998);
        assert_eq!(Json::Integer("-9223372036854775809".into()).wrapping_i64(), i64::MAX);
        assert_eq!(fraction("12.99"), 12);
        assert_eq!(fraction("-1.5e1"), -15);
        assert_eq!(fraction("1e400"), 0);
        assert_eq!(fraction("1e-99999999999"), 0);
        assert_eq!(fraction("1e99999999999999999999"), 0);
        assert_eq!(fraction("0.5"), 0);
        assert_eq!(Json::Text("5".into()).wrapping_i64(), 0);
    }

    #[test]
    fn floats_are_the_nearest_or_infinite() {
        assert_eq!(Json::Fraction("1e400".into()).f64(), f64::INFINITY);
        assert_eq!(Json::Fraction("0.1".into()).f32(), 0.1);
        assert_eq!(Json::Bool(true).f64(), 0.0);
        assert!(Json::Fraction("-0.0e1".into()).f64().is_sign_positive());
        assert!(Json::Fraction("-1e-400".into()).f64().is_sign_negative());
    }
}
