//! Between the values of logical types and what they are stored as.

use connect_api::{Decimal, Error, ErrorKind, Result, Schema, logical};

use crate::java::calendar::DAY_MS;

/// The bytes of a number, whose scale must be the schema's.
pub fn decimal_to_bytes(schema: &Schema, number: &Decimal) -> Result<Vec<u8>> {
    let expected = scale(schema)?;
    if number.scale() != expected {
        return Err(Error::data(format!(
            "Decimal value has mismatching scale for given Decimal schema. Schema has scale {expected}, value has scale {}.",
            number.scale()
        )));
    }
    Ok(number.unscaled().to_vec())
}

/// The number that bytes are, with the schema's scale.
pub fn decimal_from_bytes(schema: &Schema, bytes: &[u8]) -> Result<Decimal> {
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Other("java.lang.NumberFormatException"), "Zero length BigInteger"));
    }
    Ok(Decimal::new(bytes, scale(schema)?))
}

fn scale(schema: &Schema) -> Result<i32> {
    let scale =
        schema.parameter("scale").ok_or_else(|| Error::data("Invalid Decimal schema: scale parameter not found."))?;
    let wrong = || Error::data("Invalid scale parameter found in Decimal schema: ");
    crate::java::parse::integer(scale, i32::MIN.into(), i32::MAX.into()).map(|n| n as i32).ok_or_else(wrong)
}

/// Days since 1970; an instant within a day is refused.
pub fn date_to_days(schema: &Schema, ms: i64) -> Result<i32> {
    named(schema, logical::DATE, "Date")?;
    if ms.rem_euclid(DAY_MS) != 0 {
        return Err(Error::data("Kafka Connect Date type should not have any time fields set to non-zero values."));
    }
    Ok((ms / DAY_MS) as i32)
}

/// The instant at which a day begins.
pub fn date_from_days(schema: &Schema, days: i32) -> Result<i64> {
    named(schema, logical::DATE, "Date")?;
    Ok(i64::from(days) * DAY_MS)
}

/// Milliseconds since midnight; an instant beyond the first day of 1970 is refused.
pub fn time_to_ms(schema: &Schema, ms: i64) -> Result<i32> {
    named(schema, logical::TIME, "Time")?;
    match (0..=DAY_MS).contains(&ms) {
        true => Ok(ms as i32),
        false => Err(Error::data("Kafka Connect Time type should not have any date fields set to non-zero values.")),
    }
}

/// The instant on the first day of 1970.
pub fn time_from_ms(schema: &Schema, ms: i32) -> Result<i64> {
    named(schema, logical::TIME, "Date")?;
    match (0..=DAY_MS).contains(&i64::from(ms)) {
        true => Ok(i64::from(ms)),
        false => Err(Error::data("Time values must use number of milliseconds greater than 0 and less than 86400000")),
    }
}

fn named(schema: &Schema, name: &str, what: &str) -> Result<()> {
    match schema.is_logical(name) {
        true => Ok(()),
        false => Err(Error::data(format!("Requested conversion of {what} object but the schema does not match."))),
    }
}
