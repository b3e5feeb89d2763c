//! Date patterns of `java.text.SimpleDateFormat`, in UTC and with English names.

mod parse;

use super::calendar::{DAY_MS, Date};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const LETTERS: &str = "GyMdkHmsSEDFwWahKzZYuXL";

/// A pattern that was understood.
#[derive(Clone, Debug)]
pub struct DateFormat {
    pattern: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A letter and how often it stands there.
    Field(char, usize),
    Literal(String),
}

impl DateFormat {
    /// Reads a pattern; the error is what Java says.
    pub fn new(pattern: &str) -> Result<DateFormat, String> {
        let mut tokens = Vec::new();
        let mut rest = pattern.chars().peekable();
        let mut literal = String::new();
        let flush = |literal: &mut String, tokens: &mut Vec<Token>| {
            if !literal.is_empty() {
                tokens.push(Token::Literal(std::mem::take(literal)));
            }
        };
        while let Some(character) = rest.next() {
            match character {
                '\'' if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
                '\'' => loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
                        Some('\'') => break,
                        Some(quoted) => literal.push(quoted),
                        None => return Err("Unterminated quote".to_owned()),
                    }
                },
                letter if letter.is_ascii_alphabetic() => {
                    if !LETTERS.contains(letter) {
                        return Err(format!("Illegal pattern character '{letter}'"));
                    }
                    flush(&mut literal, &mut tokens);
                    let mut count = 1;
                    while rest.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    if letter == 'X' && count > 3 {
                        return Err(format!("invalid ISO 8601 format: length={count}"));
                    }
                    tokens.push(Token::Field(letter, count));
                }
                other => literal.push(other),
            }
        }
        flush(&mut literal, &mut tokens);
        Ok(DateFormat { pattern: pattern.to_owned(), tokens })
    }

    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// An instant, in milliseconds since 1970, as the pattern has it.
    pub fn format(&self, ms: i64) -> String {
        let mut text = String::new();
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => text.push_str(literal),
                Token::Field(letter, count) => text.push_str(&field(*letter, *count, ms)),
            }
        }
        text
    }
}

fn field(letter: char, count: usize, ms: i64) -> String {
    let (day, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let date = Date::of_day(day);
    let hour = of_day / 3_600_000;
    let new_year = |year: i64| Date { year, month: 1, day: 1 }.to_day();
    let day_of_year = day - new_year(date.year) + 1;
    let short = |name: &str| name[..3].to_owned();
    let year = |year: i64| {
        // Years before 1 AD count down from 1 BC.
        let year = if year > 0 { year } else { 1 - year };
        if count == 2 { format!("{:02}", year % 100) } else { padded(year, count) }
    };
    let month = MONTHS[(date.month - 1) as usize];
    let weekday = DAYS[weekday(day)];
    match letter {
        'G' => if date.year > 0 { "AD" } else { "BC" }.to_owned(),
        'y' => year(date.year),
        'Y' => year(week_of_year(day, date.year, new_year).0),
        'w' => padded(week_of_year(day, date.year, new_year).1, count),
        'M' | 'L' if count >= 4 => month.to_owned(),
        'M' | 'L' if count == 3 => short(month),
        'M' | 'L' => padded(date.month, count),
        'W' => padded((date.day - 1 + self::weekday(day - date.day + 1) as i64) / 7 + 1, count),
        'D' => padded(day_of_year, count),
        'd' => padded(date.day, count),
        'F' => padded((date.day - 1) / 7 + 1, count),
        'E' if count >= 4 => weekday.to_owned(),
        'E' => short(weekday),
        'u' => padded((self::weekday(day) as i64 + 6) % 7 + 1, count),
        'a' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        'H' => padded(hour, count),
        'k' => padded(if hour == 0 { 24 } else { hour }, count),
        'K' => padded(hour % 12, count),
        'h' => padded((hour + 11) % 12 + 1, count),
        'm' => padded(of_day / 60_000 % 60, count),
        's' => padded(of_day / 1000 % 60, count),
        'S' => padded(of_day % 1000, count),
        'z' if count >= 4 => "Coordinated Universal Time".to_owned(),
        'z' => "UTC".to_owned(),
        'Z' => "+0000".to_owned(),
        // X: the pattern has no other letters.
        _ => "Z".to_owned(),
    }
}

fn padded(number: i64, count: usize) -> String {
    format!("{number:0>count$}")
}

/// 0 is Sunday.
fn weekday(day: i64) -> usize {
    (day + 4).rem_euclid(7) as usize
}

/// The year and the number of a week that begins on Sunday: the first one of a year has its first of January.
fn week_of_year(day: i64, year: i64, new_year: impl Fn(i64) -> i64) -> (i64, i64) {
    let saturday = day + 6 - weekday(day) as i64;
    if saturday >= new_year(year + 1) {
        return (year + 1, 1);
    }
    let first = new_year(year);
    (year, (day - first + weekday(first) as i64) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Thu 29 Feb 2024, 13:05:09.007 UTC.
    const LEAP_DAY: i64 = 1_709_211_909_007;

    #[test]
    fn instants_are_formatted_as_java_does() {
        for (pattern, ms, expected) in [
            ("yyyyMMdd", LEAP_DAY, "20240229"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", LEAP_DAY, "2024-02-29T13:05:09.007Z"),
            ("yy M d H m s S", LEAP_DAY, "24 2 29 13 5 9 7"),
            ("EEE, d MMM yyyy hh:mm a z Z XXX", LEAP_DAY, "Thu, 29 Feb 2024 01:05 PM UTC +0000 Z"),
            (
                "EEEE MMMM u F W w D YYYY K k G zzzz",
                LEAP_DAY,
                "Thursday February 4 5 5 9 60 2024 1 13 AD Coordinated Universal Time",
            ),
            ("YYYY ww W kk hh KK", 1_735_603_200_000, "2025 01 5 24 12 00"),
            ("''yyyy 'o''clock'", 0, "'1970 o'clock"),
            ("yyyy-MM-dd G", -62_135_769_600_000 - 3 * DAY_MS, "0001-12-29 BC"),
            ("yyyy-MM-dd", -12_219_292_800_001, "1582-10-04"),
            ("HH:mm:ss.SSS", -1, "23:59:59.999"),
        ] {
            assert_eq!(DateFormat::new(pattern).unwrap().format(ms), expected, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_java_does_not_know_are_refused() {
        let refused = |pattern: &str| DateFormat::new(pattern).map(|_| ());
        assert_eq!(refused("bad"), Err("Illegal pattern character 'b'".to_owned()));
        assert_eq!(refused("yyyy 'x"), Err("Unterminated quote".to_owned()));
        assert_eq!(refused("XXXX"), Err("invalid ISO 8601 format: length=4".to_owned()));
    }
}
