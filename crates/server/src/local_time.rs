//! Wall-clock times as log lines show them: local time, read from the system's zone file; and in UTC.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Year, month, day, hour, minute, second, millisecond.
pub type Parts = (i64, u32, u32, u32, u32, u32, u32);

/// The parts of a moment in local time.
pub fn local(ms: i64) -> Parts {
    parts(ms, offset_seconds(ms.div_euclid(1000)))
}

fn parts(ms: i64, offset_seconds: i64) -> Parts {
    let local = ms.div_euclid(1000) + offset_seconds;
    let (days, of_day) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let parts = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    (year, month, day, parts.0 as u32, parts.1 as u32, parts.2 as u32, ms.rem_euclid(1000) as u32)
}

/// `2026-11-22 15:15:31,741`, as log4j prints it.
pub fn log_time(ms: i64) -> String {
    let (year, month, day, hour, minute, second, milli) = local(ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{milli:03}")
}

/// `2026-11-22T15:15:31.741Z` (RFC 3339).
pub fn utc(ms: i64) -> String {
    let (year, month, day, hour, minute, second, milli) = parts(ms, 0);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    // Years are counted from March, so that the leap day comes last; 400 years have 146,097 days.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The days from 1970-01-01 to a date of that calendar; months and days beyond their ranges count on.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    let (year, shifted) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn offset_seconds(at: i64) -> i64 {
    static ZONE: OnceLock<Vec<(i64, i64)>> = OnceLock::new();
    let zone = ZONE.get_or_init(|| zone_file().and_then(|path| transitions(&fs::read(path).ok()?)).unwrap_or_default());
    let after = zone.partition_point(|(from, _)| *from <= at);
    zone.get(after.saturating_sub(1)).map_or(0, |(_, offset)| *offset)
}

fn zone_file() -> Option<PathBuf> {
    match std::env::var("TZ") {
        Ok(name) if name.trim_start_matches(':').is_empty() || name == "UTC" => None,
        Ok(name) => {
            let name = name.trim_start_matches(':').to_owned();
            Some(if name.starts_with('/') { name.into() } else { PathBuf::from("/usr/share/zoneinfo").join(name) })
        }
        Err(_) => Some("/etc/localtime".into()),
    }
}

/// The offsets of a TZif file by the moment each begins (its 64-bit part); the first holds for all times before.
fn transitions(file: &[u8]) -> Option<Vec<(i64, i64)>> {
    let counts = |header: &[u8]| -> Option<[usize; 6]> {
        let mut counts = [0; 6];
        for (i, c) in counts.iter_mut().enumerate() {
            *c = u32::from_be_bytes(header.get(20 + 4 * i..24 + 4 * i)?.try_into().ok()?) as usize;
        }
        Some(counts)
    };
    if !file.starts_with(b"TZif") || *file.get(4)? < b'2' {
        return None;
    }
    let [utc, std, leaps, times, types, chars] = counts(file)?;
    let second = 44 + times * 5 + types * 6 + chars + leaps * 8 + std + utc;
    let file = file.get(second..)?;
    let [_, _, _, times, types, _] = counts(file)?;
    let (moments, rest) = file.get(44..)?.split_at_checked(times * 8)?;
    let (kinds, rest) = rest.split_at_checked(times)?;
    let offsets: Vec<i64> = rest
        .get(..types * 6)?
        .chunks_exact(6)
        .map(|t| i64::from(i32::from_be_bytes([t[0], t[1], t[2], t[3]])))
        .collect();
    let mut zone = vec![(i64::MIN, *offsets.first()?)];
    for (moment, kind) in moments.chunks_exact(8).zip(kinds) {
        zone.push((i64::from_be_bytes(moment.try_into().ok()?), *offsets.get(usize::from(*kind))?));
    }
    Some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(20_779), (2026, 11, 22));
        for at in [-200_000, -719_468, -1, 0, 59, 19_782, 20_779, 3_000_000] {
            let (year, month, day) = civil(at);
            assert_eq!(days(year, month.into(), day.into()), at);
        }
        assert_eq!(days(2019, 13, 1), days(2020, 1, 1));
    }

    #[test]
    fn a_moment_in_utc() {
        assert_eq!(utc(1_577_836_800_007), "2020-01-01T00:00:00.007Z");
    }

    #[test]
    fn a_zone_file_gives_the_offset_of_a_moment() {
        let mut file = b"TZif2".to_vec();
        file.resize(44, 0);
        let mut second = b"TZif2".to_vec();
        second.resize(20, 0);
        for count in [0u32, 0, 0, 1, 2, 0] {
            second.extend(count.to_be_bytes());
        }
        second.extend(1000i64.to_be_bytes());
        second.push(1);
        for offset in [3600i32, 32_400] {
            second.extend(offset.to_be_bytes());
            second.extend([0, 0]);
        }
        file.extend(second);
        assert_eq!(transitions(&file), Some(vec![(i64::MIN, 3600), (1000, 32_400)]));
        assert_eq!(transitions(&file[..60]), None);
        assert_eq!(transitions(b"nonsense"), None);
    }
}
