//! The process itself, under the names that Prometheus' own client libraries use.

use super::page::{Kind, Page};

/// Ticks of `/proc/self/stat`: Linux reports hundredths of a second to programs, whatever it counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes CPU time, memory, open files. A system without `/proc` has none of them.
pub(super) fn write(page: &mut Page) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        let seconds = (user + system) as f64 / TICKS_PER_SECOND;
        page.family("process_cpu_seconds_total", Kind::Counter, "CPU time in user and system mode.")
            .sample(&[], seconds);
    }
    if let Some(pages) = number(21) {
        let bytes = pages * rustix::param::page_size() as u64;
        page.gauge("process_resident_memory_bytes", "Memory that is resident.", bytes);
    }
    if let Some(threads) = number(17) {
        page.gauge("process_threads", "Threads.", threads);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open file descriptors.", open.count());
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        page.gauge("process_max_fds", "File descriptors that may be open.", limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_described() {
        let mut page = Page::new();
        write(&mut page);
        let text = page.finish();
        let resident = text.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.unwrap().parse::<u64>().unwrap() > 1 << 20, "{text}");
        assert!(text.contains("process_cpu_seconds_total ") && text.contains("process_open_fds "));
    }
}
