//! Suggestions for misspelt keys.

/// The known name nearest to `name`, where it is near enough to be what was meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 6).clamp(1, 3);
    known.map(|k| (distance(name, k, most), k)).filter(|(d, _)| *d <= most).min().map(|(_, k)| k)
}

/// Edits (a character added, dropped, replaced, or two swapped) from `a` to `b`; more than `most` is `most + 1`.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b) = (normal(a), normal(b));
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()].min(most + 1)
}

/// Lower case, with the separators that people mix up made one.
fn normal(name: &str) -> Vec<u8> {
    name.bytes().map(|b| if matches!(b, b'_' | b'-' | b'.') { b'.' } else { b.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["log.retention.ms", "log.retention.hours", "num.partitions"];

    #[test]
    fn small_slips_find_the_key_that_was_meant() {
        for slip in ["log.retension.ms", "log.retention_ms", "LOG.RETENTION.MS", "log.retentoin.ms", "log.retention.m"]
        {
            assert_eq!(nearest(slip, KNOWN.into_iter()), Some("log.retention.ms"), "{slip}");
        }
    }

    #[test]
    fn something_else_altogether_finds_nothing() {
        for other in ["my.plugin.setting", "x", "", "num"] {
            assert_eq!(nearest(other, KNOWN.into_iter()), None, "{other}");
        }
    }
}
