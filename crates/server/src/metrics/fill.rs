//! How fast a volume fills, and when it will be full.

use std::collections::VecDeque;

/// How often the space that is left is noted.
pub const EVERY_MS: i64 = 30_000;
/// The trend is that of the last hour: long enough to see past segments that retention drops.
const NOTES_MAX: usize = 120;
/// Before there are so many notes there is no trend.
const NOTES_MIN: usize = 5;

/// The space that a volume had left.
#[derive(Debug, Default)]
pub struct Fill {
    /// Ms since 1970 and bytes, the latest last.
    notes: VecDeque<(i64, u64)>,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// By which the space that is left becomes less; negative where it becomes more.
    pub bytes_per_second: f64,
    /// Infinite where it does not become less.
    pub seconds_until_full: f64,
}

impl Fill {
    /// Notes the space that is left, if it is time.
    pub fn note(&mut self, usable: u64, now_ms: i64) {
        match self.notes.back() {
            Some((last, _)) if (0..EVERY_MS).contains(&(now_ms - last)) => return,
            // A clock that was set back: what was noted before says nothing about a trend.
            Some((last, _)) if now_ms < *last => self.notes.clear(),
            _ => {}
        }
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back((now_ms, usable));
    }

    /// The line that fits the notes best (least squares).
    pub fn trend(&self) -> Option<Trend> {
        if self.notes.len() < NOTES_MIN {
            return None;
        }
        let (start, left) = (self.notes.front()?.0, self.notes.back()?.1 as f64);
        let points = || self.notes.iter().map(|(ms, usable)| ((ms - start) as f64 / 1000.0, *usable as f64));
        let count = self.notes.len() as f64;
        let (sum_t, sum_u) = points().fold((0.0, 0.0), |(t, u), point| (t + point.0, u + point.1));
        let (mean_t, mean_u) = (sum_t / count, sum_u / count);
        let (above, below) = points().fold((0.0, 0.0), |(above, below), (t, u)| {
            (above + (t - mean_t) * (u - mean_u), below + (t - mean_t) * (t - mean_t))
        });
        // Minus zero would be shown as such.
        let bytes_per_second = if above == 0.0 { 0.0 } else { -above / below };
        let seconds_until_full = if bytes_per_second > 0.0 { left / bytes_per_second } else { f64::INFINITY };
        Some(Trend { bytes_per_second, seconds_until_full })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(notes: impl IntoIterator<Item = u64>) -> Fill {
        let mut fill = Fill::default();
        for (at, usable) in notes.into_iter().enumerate() {
            fill.note(usable, at as i64 * EVERY_MS);
        }
        fill
    }

    #[test]
    fn a_volume_that_fills_steadily_is_forecast() {
        let fill = filled((0..10).map(|i| 1_000_000 - i * 3_000));
        let trend = fill.trend().unwrap();
        assert!((trend.bytes_per_second - 100.0).abs() < 1e-6, "{trend:?}");
        assert!((trend.seconds_until_full - 9_730.0).abs() < 1e-3, "{trend:?}");
    }

    #[test]
    fn a_volume_that_gains_space_or_stands_still_is_never_full() {
        let trend = filled((0..10).map(|i| 1_000 + i)).trend().unwrap();
        assert!(trend.bytes_per_second < 0.0 && trend.seconds_until_full == f64::INFINITY);
        let trend = filled([7; 10]).trend().unwrap();
        assert_eq!(trend, Trend { bytes_per_second: 0.0, seconds_until_full: f64::INFINITY });
        assert_eq!(trend.bytes_per_second.to_string(), "0");
    }

    #[test]
    fn nothing_is_forecast_from_a_glance_and_only_the_last_hour_counts() {
        assert_eq!(filled([9, 8, 7, 6]).trend(), None);
        let fill = filled((0..NOTES_MAX as u64).map(|i| i * 5_000).chain([600_000; NOTES_MAX]));
        assert_eq!(fill.trend().unwrap().bytes_per_second, 0.0);
        let mut often = Fill::default();
        (0..1000).for_each(|ms| often.note(ms, ms as i64));
        assert_eq!(often.notes.len(), 1);
    }
}
