//! Days and dates as `java.util.GregorianCalendar` counts them: Julian before 15 October 1582.

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// 15 October 1582, in days since 1970.
const CUTOVER: i64 = -141_427;

/// A day of the calendar. Years before 1 AD are 0 and below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    pub day: i64,
}

impl Date {
    /// The date of a day, counted from 1 January 1970.
    pub fn of_day(day: i64) -> Date {
        // Counted from 1 March of year 0, so that a leap day ends a year.
        let shifted = day + if day >= CUTOVER { 719_468 } else { 719_470 };
        let (years_before, of_period, year_of_period) = if day >= CUTOVER {
            let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
            let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
            (era * 400, of_era - (365 * year + year / 4 - year / 100), year)
        } else {
            let (four, of_four) = (shifted.div_euclid(1_461), shifted.rem_euclid(1_461));
            let year = (of_four - of_four / 1_460) / 365;
            (four * 4, of_four - 365 * year, year)
        };
        let from_march = (5 * of_period + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        Date {
            year: years_before + year_of_period + i64::from(month < 3),
            month,
            day: of_period - (153 * from_march + 2) / 5 + 1,
        }
    }

    /// The day, counted from 1 January 1970. Months and days beyond their bounds run over, as a lenient calendar has it.
    pub fn to_day(self) -> i64 {
        let months = self.year * 12 + self.month - 1;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let (year, from_march) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
        let of_year = (153 * from_march + 2) / 5 + self.day - 1;
        let julian = year * 365 + year.div_euclid(4) + of_year;
        let gregorian = julian - year.div_euclid(100) + year.div_euclid(400) - 719_468;
        if gregorian >= CUTOVER { gregorian } else { julian - 719_470 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i64, month: i64, day: i64) -> Date {
        Date { year, month, day }
    }

    #[test]
    fn days_and_dates_agree() {
        for (day, expected) in [
            (0, date(1970, 1, 1)),
            (11_016, date(2000, 2, 29)),
            (-1, date(1969, 12, 31)),
            (CUTOVER, date(1582, 10, 15)),
            (CUTOVER - 1, date(1582, 10, 4)),
            (-719_164, date(1, 1, 1)),
        ] {
            assert_eq!(Date::of_day(day), expected);
            assert_eq!(expected.to_day(), day, "{expected:?}");
        }
        for day in (-800_000..800_000).step_by(7) {
            assert_eq!(Date::of_day(day).to_day(), day);
        }
    }

    #[test]
    fn what_is_beyond_a_month_runs_over() {
        assert_eq!(date(2023, 14, 1).to_day(), date(2024, 2, 1).to_day());
        assert_eq!(date(2023, 2, 30).to_day(), date(2023, 3, 2).to_day());
        assert_eq!(date(2023, 1, 0).to_day(), date(2022, 12, 31).to_day());
    }
}
