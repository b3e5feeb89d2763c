//! Moments as `--to-datetime` and `--by-duration` take them.

use crate::clock;
use crate::tool::Exception;

/// Milliseconds since the epoch of `YYYY-MM-DDTHH:mm:SS.sss`, in UTC or with an offset such as `+0900` behind it.
/// Seconds may lack their fraction.
pub fn datetime(text: &str) -> Result<i64, Exception> {
    let parse_error = |why: String| {
        let message = format!("java.text.ParseException: {why}");
        Exception::new("java.lang.RuntimeException", message)
    };
    let Some((date, time)) = text.split_once('T') else {
        let why = "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format";
        return Err(parse_error(why.to_owned()));
    };
    let assumed = if time.contains(['Z', '+', '-']) { "" } else { "Z" };
    let wrong = || parse_error(format!("Unparseable date: \"{text}{assumed}\""));
    let mut date_parts = date.splitn(3, '-');
    let mut next = || -> Option<i64> { digits(date_parts.next()?) };
    let (year, month, day) = (next().ok_or_else(wrong)?, next().ok_or_else(wrong)?, next().ok_or_else(wrong)?);
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let (clock_time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time_parts = clock_time.splitn(3, ':');
    let mut next = || -> Option<i64> { digits(time_parts.next()?) };
    let (hour, minute) = (next().ok_or_else(wrong)?, next().ok_or_else(wrong)?);
    let second = next().ok_or_else(wrong)?;
    let milli = digits(fraction).ok_or_else(wrong)?;
    if fraction.len() > 3 {
        return Err(wrong());
    }
    let seconds = clock::days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let offset = match zone {
        "" | "Z" => 0,
        zone => offset(zone).ok_or_else(wrong)?,
    };
    Ok((seconds - offset) * 1000 + milli)
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Seconds of `+09`, `+0900` or `+09:00`.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let rest = rest.replace(':', "");
    let (hours, minutes) = match rest.len() {
        2 => (digits(&rest)?, 0),
        4 => (digits(&rest[..2])?, digits(&rest[2..])?),
        _ => return None,
    };
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Milliseconds of an ISO 8601 duration: `P1DT2H3M4.5S`, each part with a sign where one likes.
pub fn duration(text: &str) -> Result<i64, Exception> {
    let wrong = || {
        let message = "Text cannot be parsed to a Duration";
        Exception::new("java.time.format.DateTimeParseException", message)
    };
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = match upper.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let rest = rest.strip_prefix('P').ok_or_else(wrong)?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return Err(wrong()),
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let mut ms: i64 = 0;
    let mut parts = 0;
    for (part, units) in [(days, &[('D', 86_400_000)][..]), (time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])] {
        let mut left = part;
        for (unit, factor) in units {
            let Some((number, after)) = left.split_once(*unit) else { continue };
            let value =
                if *unit == 'S' { seconds_ms(number) } else { whole(number).and_then(|n| n.checked_mul(*factor)) };
            ms = value.and_then(|v| ms.checked_add(v)).ok_or_else(wrong)?;
            (left, parts) = (after, parts + 1);
        }
        if !left.is_empty() {
            return Err(wrong());
        }
    }
    if parts == 0 { Err(wrong()) } else { Ok(sign * ms) }
}

fn whole(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn seconds_ms(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let seconds_ms = whole(seconds)?.checked_mul(1000)?;
    Some(if seconds.starts_with('-') { seconds_ms - millis } else { seconds_ms + millis })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_have_their_zone_or_utc() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2020-01-01T00:00:00.000Z", 1_577_836_800_000),
            ("2020-01-01T00:00:00.000", 1_577_836_800_000),
            ("2020-01-01T09:00:00.123+0900", 1_577_836_800_123),
            ("2020-01-01T09:00:00+09:00", 1_577_836_800_000),
            ("2019-12-31T19:00:00.5-05", 1_577_836_800_005),
        ] {
            assert_eq!(datetime(text).unwrap(), ms, "{text}");
        }
        for text in ["2020-01-01T", "2020-01-01T00", "2020-01-01T00:00", "2020-xx-01T00:00:00.000", "T::", "éT1"] {
            let error = datetime(text).unwrap_err();
            assert_eq!(error.message, format!("java.text.ParseException: Unparseable date: \"{text}Z\""));
        }
        for text in ["", "2020-01-01", "now", "é"] {
            assert!(datetime(text).unwrap_err().message.contains("does not contain a 'T'"));
        }
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, ms) in [
            ("PT1H", 3_600_000),
            ("P1D", 86_400_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("pt-5m", -300_000),
            ("-PT5M", -300_000),
            ("PT-0.25S", -250),
            ("PT0S", 0),
        ] {
            assert_eq!(duration(text).unwrap(), ms, "{text}");
        }
        for text in
            ["", "P", "PT", "1H", "PT1", "PT1H1D", "P1H", "PT1M1H", "PTxS", "PT1.0000000001S", "P99999999999999D"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
