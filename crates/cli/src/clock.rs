//! Wall-clock times as the tools show them.

use std::time::{SystemTime, UNIX_EPOCH};

pub use server::local_time::{days, log_time};

/// Milliseconds since the epoch, now.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// A moment in local time by a pattern of Java's `SimpleDateFormat`, of which y, M, d, H, m, s and S are known.
pub fn formatted(ms: i64, pattern: &str) -> String {
    let (year, month, day, hour, minute, second, milli) = server::local_time::local(ms);
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        let mut width = 1;
        while rest.next_if_eq(&letter).is_some() {
            width += 1;
        }
        let number = match letter {
            'y' if width == 2 => year % 100,
            'y' => year,
            'M' => month.into(),
            'd' => day.into(),
            'H' => hour.into(),
            'm' => minute.into(),
            's' => second.into(),
            'S' => milli.into(),
            other => {
                out.extend(std::iter::repeat_n(other, width));
                continue;
            }
        };
        out += &format!("{number:0width$}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_by_a_pattern() {
        let shown = formatted(1_577_836_800_007, "yyyy/MM/dd HH:mm:ss:SSS yy");
        assert!(shown.ends_with(":00:007 20") || shown.ends_with(":00:007 19"), "{shown}");
        assert_eq!(formatted(7, "SSSS S"), "0007 7");
    }
}
