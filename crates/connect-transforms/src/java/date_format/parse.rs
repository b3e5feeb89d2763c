//! Reading a date by its pattern, leniently as Java does: what is beyond its bounds runs over, what follows is ignored.

use super::{DAYS, DateFormat, MONTHS, Token};
use crate::java::calendar::{DAY_MS, Date};

/// What was read so far. What a pattern does not have is as on 1 January 1970.
struct Fields {
    year: i64,
    before_christ: bool,
    date: Day,
    month: i64,
    hour: Hour,
    afternoon: bool,
    minute: i64,
    second: i64,
    ms: i64,
    /// East of Greenwich, in ms.
    zone: i64,
}

/// Of two ways to name a day, the one that was read last counts.
enum Day {
    OfMonth(i64),
    OfYear(i64),
}

enum Hour {
    OfDay(i64),
    OfHalf(i64),
}

impl DateFormat {
    /// The instant, in milliseconds since 1970. None when the text does not begin as the pattern says, and for patterns
    /// with weeks (`Y`, `w`, `W`, `F`), which are only written. Years of two digits lie between 80 years before `now_ms`
    /// and 20 after.
    pub fn parse(&self, text: &str, now_ms: i64) -> Option<i64> {
        let mut fields = Fields {
            year: 1970,
            before_christ: false,
            date: Day::OfMonth(1),
            month: 1,
            hour: Hour::OfDay(0),
            afternoon: false,
            minute: 0,
            second: 0,
            ms: 0,
            zone: 0,
        };
        let mut rest = text;
        for (i, token) in self.tokens.iter().enumerate() {
            rest = match token {
                Token::Literal(literal) => rest.strip_prefix(literal.as_str())?,
                Token::Field(letter, count) => {
                    // A number right before another one has as many digits as its letter stands there.
                    let abutting = match self.tokens.get(i + 1) {
                        Some(Token::Field('M' | 'L', next)) => *next <= 2,
                        Some(Token::Field(next, _)) => !"GEazZX".contains(*next),
                        _ => false,
                    };
                    let width = abutting.then_some(*count);
                    fields.read(*letter, *count, width, rest.trim_start_matches([' ', '\t']), now_ms)?
                }
            };
        }
        fields.instant()
    }
}

impl Fields {
    /// Reads one field and gives back what follows.
    fn read<'t>(
        &mut self,
        letter: char,
        count: usize,
        width: Option<usize>,
        text: &'t str,
        now_ms: i64,
    ) -> Option<&'t str> {
        match letter {
            'G' => return one_of(text, &["BC", "AD"]).map(|(era, rest)| (self.before_christ = era == 0, rest).1),
            'M' | 'L' if count > 2 => {
                let (month, rest) = name(text, &MONTHS)?;
                self.month = month as i64 + 1;
                return Some(rest);
            }
            'E' => return name(text, &DAYS).map(|(_, rest)| rest),
            'a' => return one_of(text, &["AM", "PM"]).map(|(half, rest)| (self.afternoon = half == 1, rest).1),
            'z' | 'Z' | 'X' => {
                let (zone, rest) = zone(text, letter, count)?;
                self.zone = zone;
                return Some(rest);
            }
            'Y' | 'w' | 'W' | 'F' => return None,
            _ => {}
        }
        let (number, digits, rest) = number(text, width)?;
        match letter {
            'y' => self.year = if count <= 2 && digits == 2 && number >= 0 { century(number, now_ms) } else { number },
            'M' | 'L' => self.month = number,
            'd' => self.date = Day::OfMonth(number),
            'D' => self.date = Day::OfYear(number),
            'H' => self.hour = Hour::OfDay(number),
            'k' => self.hour = Hour::OfDay(if number == 24 { 0 } else { number }),
            'K' => self.hour = Hour::OfHalf(number),
            'h' => self.hour = Hour::OfHalf(if number == 12 { 0 } else { number }),
            'm' => self.minute = number,
            's' => self.second = number,
            'S' => self.ms = number,
            // u, a day of the week, says nothing beside a date.
            _ => {}
        }
        Some(rest)
    }

    fn instant(self) -> Option<i64> {
        let year = if self.before_christ { 1 - self.year } else { self.year };
        let (month, day) = match self.date {
            Day::OfMonth(day) => (self.month, day),
            Day::OfYear(day) => (1, day),
        };
        let hour = match self.hour {
            Hour::OfDay(hour) => hour,
            Hour::OfHalf(hour) => hour + if self.afternoon { 12 } else { 0 },
        };
        // No number is so large that this overflows, see `number`.
        let day = Date { year, month, day }.to_day();
        let of_day = hour * 3_600_000 + self.minute * 60_000 + self.second * 1000 + self.ms;
        day.checked_mul(DAY_MS)?.checked_add(of_day - self.zone)
    }
}

/// Digits with an optional minus before them: their value, how many characters, and what follows. At most `width`
/// characters are looked at.
fn number(text: &str, width: Option<usize>) -> Option<(i64, usize, &str)> {
    let within = match width {
        Some(width) => text.get(..width)?,
        None => text,
    };
    let unsigned = within.strip_prefix('-').unwrap_or(within);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let length = within.len() - unsigned.len() + digits;
    // Java takes larger ones and lets them overflow.
    let number: i32 = text[..length].parse().ok()?;
    Some((number.into(), length, &text[length..]))
}

/// A year of two digits.
fn century(year: i64, now_ms: i64) -> i64 {
    let earliest = Date::of_day(now_ms.div_euclid(DAY_MS)).year - 80;
    let same = earliest - earliest.rem_euclid(100) + year;
    if same < earliest { same + 100 } else { same }
}

/// Which of some words the text begins with, whatever their case.
fn one_of<'t>(text: &'t str, words: &[&str]) -> Option<(usize, &'t str)> {
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let (at, word) = words.iter().enumerate().find(|(_, word)| begins(word))?;
    Some((at, &text[word.len()..]))
}

/// As `one_of`, with names that may be cut to three letters.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<(usize, &'t str)> {
    let short: Vec<&str> = names.iter().map(|name| &name[..3]).collect();
    one_of(text, names).or_else(|| one_of(text, &short))
}

/// A zone by its distance from Greenwich, or one of the names of that itself.
fn zone(text: &str, letter: char, count: usize) -> Option<(i64, &str)> {
    if letter == 'X' {
        if let Some(rest) = text.strip_prefix('Z') {
            return Some((0, rest));
        }
        return offset(text, count >= 2, count == 3);
    }
    let (named, text) = match one_of(text, &["GMT", "UTC"]) {
        Some((_, rest)) => (true, rest),
        None => (false, text),
    };
    let colon = text.get(1..).is_some_and(|t| t.bytes().take_while(u8::is_ascii_digit).count() <= 2);
    match offset(text, true, colon) {
        None if named => Some((0, text)),
        offset => offset,
    }
}

fn offset(text: &str, minutes: bool, colon: bool) -> Option<(i64, &str)> {
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, _, mut rest) = two_digits(&text[1..])?;
    let mut offset = hours * 3_600_000;
    if minutes {
        if colon {
            rest = rest.strip_prefix(':')?;
        }
        let (minutes, _, after) = two_digits(rest)?;
        (offset, rest) = (offset + minutes * 60_000, after);
    }
    Some((sign * offset, rest))
}

fn two_digits(text: &str) -> Option<(i64, usize, &str)> {
    number(text, Some(2)).filter(|(number, length, _)| *number >= 0 && *length == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 1 January 2026.
    const NOW: i64 = 1_767_225_600_000;

    #[test]
    fn texts_are_read_as_java_does() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd", "2024-02-29", Some(1_709_164_800_000)),
            ("yyyy-MM-dd", "2023-02-29", Some(1_677_628_800_000)),
            ("yyyy-MM-dd", "2024-2-29 and more", Some(1_709_164_800_000)),
            ("yyyyMMdd", "20240229", Some(1_709_164_800_000)),
            ("yyyyMMddHHmmss", "20240229130509", Some(1_709_211_909_000)),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2024-02-29T14:05:09.007+01:00", Some(1_709_211_909_007)),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2024-02-29T13:05:09.007Z", Some(1_709_211_909_007)),
            ("EEE, d MMM yyyy HH:mm:ss Z", "Thu, 29 february 2024 08:05:09 -0500", Some(1_709_211_909_000)),
            ("MMMM d, yyyy h:mm a z", "February 29, 2024 1:05 pm GMT", Some(1_709_211_900_000)),
            ("yyyy DDD", "2024 60", Some(1_709_164_800_000)),
            ("dd.MM.yy", "29.02.24", Some(1_709_164_800_000)),
            ("dd.MM.yy", "29.02.46", Some(-752_284_800_000)),
            ("dd.MM.yy", "01.01.45", Some(2_366_841_600_000)),
            ("HH:mm", "25:61", Some(93_660_000)),
            ("yyyy-MM-dd", "1234567890", None),
            ("yyyy-MM-dd", "", None),
            ("yyyy", "99999999999", None),
            ("MMM", "xyz", None),
            ("YYYY-ww", "2024-01", None),
            ("yyyyMMdd", "2024", None),
            ("yyyyMM", "é", None),
        ] {
            assert_eq!(DateFormat::new(pattern).unwrap().parse(text, NOW), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_was_formatted_is_read_again() {
        let format = DateFormat::new("G yyyy-MM-dd HH:mm:ss.SSS").unwrap();
        for ms in [0, -1, NOW, -62_135_769_600_001, -12_219_292_800_001, 253_402_300_799_999] {
            assert_eq!(format.parse(&format.format(ms), NOW), Some(ms));
        }
    }
}
