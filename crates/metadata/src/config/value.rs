//! Values: parsing, checking and printing them as Kafka's `ConfigDef` does, with its messages.

use std::collections::BTreeSet;

use super::key::{Key, Kind, Valid};

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    /// An int, short or long.
    Whole(i64),
    Double(f64),
    /// A string, class name or password.
    Text(String),
    List(Vec<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Boolean(b) => write!(f, "{b}"),
            Value::Whole(n) => write!(f, "{n}"),
            Value::Double(d) => f.write_str(&java_double(*d)),
            Value::Text(s) => f.write_str(s),
            Value::List(items) => f.write_str(&items.join(",")),
        }
    }
}

impl Key {
    /// Parses `text` and checks the value; the error is Kafka's sentence, which names key, value and what is allowed.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let value = self.parse_type(text)?;
        self.check(&value)?;
        Ok(value)
    }

    fn parse_type(&self, text: &str) -> Result<Value, String> {
        let trimmed = java_trim(text);
        let not_a_number = || invalid(self.name, text, &format!("Not a number of type {}", self.kind.name()));
        let whole = |least: i64, most: i64| {
            trimmed
                .parse::<i64>()
                .ok()
                .filter(|n| (least..=most).contains(n))
                .map(Value::Whole)
                .ok_or_else(not_a_number)
        };
        match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Kind::Boolean => Err(invalid(self.name, text, "Expected value to be either true or false")),
            Kind::Int => whole(i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Short => whole(i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Long => whole(i64::MIN, i64::MAX),
            Kind::Double => parse_double(trimmed).map(Value::Double).ok_or_else(not_a_number),
            Kind::List => {
                let mut items = split_list(trimmed);
                if let Valid::Items { .. } = self.valid {
                    let mut seen = BTreeSet::new();
                    items.retain(|item| seen.insert(item.clone()));
                }
                Ok(Value::List(items))
            }
            Kind::String | Kind::Class => Ok(Value::Text(trimmed.to_owned())),
            Kind::Password => Ok(Value::Text(text.to_owned())),
        }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        let wrong = |rule: &str| Err(invalid(self.name, &value.to_string(), rule));
        match (self.valid, value) {
            (Valid::AtLeast(least), Value::Whole(n)) if *n < least => wrong(&format!("Value must be at least {least}")),
            (Valid::Range(least, _), Value::Whole(n)) if *n < least => {
                wrong(&format!("Value must be at least {least}"))
            }
            (Valid::Range(_, most), Value::Whole(n)) if *n > most => {
                wrong(&format!("Value must be no more than {most}"))
            }
            (Valid::Between(least, _), Value::Double(d)) if *d < least => {
                wrong(&format!("Value must be at least {least}"))
            }
            (Valid::Between(_, most), Value::Double(d)) if *d > most => {
                wrong(&format!("Value must be no more than {most}"))
            }
            (Valid::GzipLevel, Value::Whole(n)) if *n != -1 && !(1..=9).contains(n) => {
                wrong("Value must be between 1 and 9 or equal to -1")
            }
            (Valid::OneOf(allowed), Value::Text(s)) if !allowed.contains(&s.as_str()) => {
                wrong(&format!("String must be one of: {}", allowed.join(", ")))
            }
            (Valid::OneOfIgnoringCase(allowed), Value::Text(s))
                if !allowed.iter().any(|a| a.eq_ignore_ascii_case(s)) =>
            {
                wrong(&format!("String must be one of (case insensitive): {}", allowed.join(", ")))
            }
            (Valid::NotEmpty, Value::Text(s)) if s.is_empty() => wrong("String must be non-empty"),
            (Valid::Items { of, may_be_empty }, Value::List(items)) => check_items(self.name, items, of, may_be_empty),
            (Valid::ThrottledReplicas, Value::List(items)) if !are_throttled_replicas(items) => Err(invalid(
                self.name,
                &format!("[{}]", items.join(", ")),
                &format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                ),
            )),
            (Valid::Voters, Value::List(items)) => match items.iter().find(|v| parse_voter(v).is_none()) {
                Some(_) => Err(format!(
                    "Invalid configuration value for {}. Each entry should be in the form `{{id}}@{{host}}:{{port}}`.",
                    self.name
                )),
                None => Ok(()),
            },
            (Valid::Endpoints, Value::List(items)) => match items.iter().find(|e| parse_endpoint(e).is_none()) {
                Some(wrong) => Err(format!(
                    "Failed to parse host name from {wrong} for the configuration {}. Each entry should be in the form \
                     \"{{host}}:{{port}}\"",
                    self.name
                )),
                None => Ok(()),
            },
            (Valid::OffsetReset, Value::Text(s)) if !is_offset_reset(s) => wrong(&format!(
                "Invalid value `{s}` for configuration {}. The value must be either 'earliest', 'latest' or of the format \
                 'by_duration:<PnDTnHnMn.nS>'.",
                self.name
            )),
            _ => Ok(()),
        }
    }
}

/// Kafka's `ConfigException` of a key, a value and a rule.
pub fn invalid(name: &str, value: &str, rule: &str) -> String {
    format!("Invalid value {value} for configuration {name}: {rule}")
}

fn check_items(name: &str, items: &[String], of: &[&str], may_be_empty: bool) -> Result<(), String> {
    if items.is_empty() && !may_be_empty {
        let allowed = if of.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", of.join(", ")) };
        return Err(format!("Configuration '{name}' must not be empty. Valid values include: {allowed}"));
    }
    for item in items {
        if item.is_empty() {
            return Err(format!("Configuration '{name}' values must not be empty."));
        }
        if !of.is_empty() && !of.contains(&item.as_str()) {
            return Err(invalid(name, item, &format!("String must be one of: {}", of.join(", "))));
        }
    }
    Ok(())
}

fn are_throttled_replicas(items: &[String]) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let pair = |s: &String| s.is_empty() || s.split_once(':').is_some_and(|(p, b)| digits(p) && digits(b));
    items.iter().all(pair) || items.concat() == "*"
}

/// `id@host:port` of controller.quorum.voters.
pub fn parse_voter(text: &str) -> Option<(i32, String, u16)> {
    let (id, endpoint) = text.split_once('@')?;
    let (host, port) = parse_endpoint(endpoint)?;
    Some((id.parse().ok().filter(|id| *id >= 0)?, host, port))
}

/// `host:port`, with IPv6 addresses in brackets.
pub fn parse_endpoint(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

/// `host:limit,...`, with or without brackets around IPv6 addresses.
pub fn parse_host_limits(text: &str) -> Option<Vec<(&str, usize)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (host, limit) = entry.rsplit_once(':')?;
            let host = host.trim().trim_matches(['[', ']']);
            Some((host, limit.trim().parse().ok()?)).filter(|_| !host.is_empty())
        })
        .collect()
}

/// Splits a list as Kafka does: at commas, with the blanks around them; no text is no item.
pub fn split_list(text: &str) -> Vec<String> {
    let trimmed = java_trim(text);
    if trimmed.is_empty() {
        return Vec::new();
    }
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    trimmed.split(',').map(|item| item.trim_matches(blank).to_owned()).collect()
}

/// Java's `String.trim`: cuts everything up to the blank.
pub(super) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

fn is_offset_reset(text: &str) -> bool {
    match text {
        "latest" | "earliest" => true,
        _ => text.strip_prefix("by_duration:").and_then(parse_duration_ms).is_some(),
    }
}

/// A duration as ISO 8601 writes it (`P1DT2H3M4.5S`), in milliseconds; negative ones are refused.
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    for (part, units) in [(date, &[('D', 86_400_000_i64)][..]), (time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])]
    {
        let mut part = part;
        for (letter, unit) in units {
            let Some((number, after)) = part.split_once(*letter) else { continue };
            total = total.checked_add(scaled(number, *unit, *letter == 'S')?)?;
            part = after;
        }
        if !part.is_empty() {
            return None;
        }
    }
    Some(total)
}

fn scaled(number: &str, unit: i64, fraction_allowed: bool) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || !digits(whole)
        || !digits(fraction)
        || fraction.len() > 9
        || (!fraction.is_empty() && !fraction_allowed)
    {
        return None;
    }
    let millis = format!("{fraction:0<3}")[..3].parse::<i64>().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(unit)?.checked_add(millis)
}

/// A number as `Double.parseDouble` reads it, except NaN, which would pass every comparison.
fn parse_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "Infinity" {
        return text.replace("Infinity", "inf").parse().ok();
    }
    let number = match text.char_indices().last() {
        Some((at, 'd' | 'D' | 'f' | 'F')) => &text[..at],
        _ => text,
    };
    let plain = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    number.parse().ok().filter(|_| number.chars().all(plain))
}

/// A number as Java's `Double.toString` writes it: `0.5`, `1.0E10`.
pub fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Infinity".into() } else { "Infinity".into() };
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}
