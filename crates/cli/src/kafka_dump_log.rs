//! `kafka-dump-log`: what is in the files of a log.

use std::path::Path;

use crate::dump_log::decoder::RecordDecoder;
use crate::dump_log::index::{self, Findings};
use crate::dump_log::{Plan, log};
use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{complain, say, term};

const ABOUT: &str = "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.";
const TEXT: &str = "org.apache.kafka.tools.api.StringDecoder";

const OPTIONS: &[Opt] = &[
    Opt::flag("cluster-metadata-decoder", "Read records as those of the cluster's metadata (__cluster_metadata)."),
    Opt::flag("deep-iteration", "Also show each record, not only the batches; --print-data-log does too."),
    Opt::text("files", "file1, file2, ...", "REQUIRED: The files, with commas: .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint."),
    HELP,
    Opt::flag("index-sanity-check", "Only check indexes as a broker does when it starts."),
    Opt::maybe_text("key-decoder-class", "", "How keys are read: StringDecoder, IntegerDecoder, LongDecoder or DefaultDecoder (hexadecimal) of org.apache.kafka.tools.api.").default(TEXT),
    Opt::int("max-bytes", "size", "Read so many bytes of a .log file at most.").default("2147483647"),
    Opt::int("max-message-size", "size", "Accepted; batches of any size are read.").default("5242880"),
    Opt::flag("offsets-decoder", "Read records as those of __consumer_offsets."),
    Opt::flag("print-data-log", "Show keys and values; a decoder does too."),
    Opt::flag("remote-log-metadata-decoder", "Read records as those of __remote_log_metadata."),
    Opt::flag("share-group-state-decoder", "Read records as those of __share_group_state."),
    Opt::flag("skip-record-metadata", "Show keys and values only, and no control records."),
    Opt::flag("transaction-log-decoder", "Read records as those of __transaction_state."),
    Opt::maybe_text("value-decoder-class", "", "How values are read; see --key-decoder-class.").default(TEXT),
    Opt::flag("verify-index-only", "Check indexes against the log, and print only what is wrong."),
    VERSION,
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::end(run(args), OPTIONS, tool::print_uncaught)
}

fn plan(o: &Parsed) -> Result<Plan, Stop> {
    let decoder = if o.has("offsets-decoder") {
        Some(RecordDecoder::groups())
    } else if o.has("transaction-log-decoder") {
        Some(RecordDecoder::transactions())
    } else if o.has("cluster-metadata-decoder") {
        Some(RecordDecoder::metadata())
    } else if o.has("remote-log-metadata-decoder") {
        Some(RecordDecoder::tiered())
    } else if o.has("share-group-state-decoder") {
        Some(RecordDecoder::share_state())
    } else if o.has("print-data-log") || o.has("value-decoder-class") || o.has("key-decoder-class") {
        let class = |name: &str| Ok::<String, Stop>(o.value(name)?.unwrap_or(TEXT).to_owned());
        Some(log::plain_decoder(&class("key-decoder-class")?, &class("value-decoder-class")?)?)
    } else {
        None
    };
    let max_bytes = o.int("max-bytes")?.filter(|max| *max != i32::MAX).map(|max| max.max(0) as u64);
    o.int("max-message-size")?;
    Ok(Plan {
        deep: o.has("deep-iteration") || decoder.is_some(),
        decoder,
        skip_metadata: o.has("skip-record-metadata"),
        verify_only: o.has("verify-index-only"),
        sanity_only: o.has("index-sanity-check"),
        max_bytes,
    })
}

fn run(args: &[String]) -> Result<(), Stop> {
    let options = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&options, &["files"])?;
    let plan = plan(&options)?;
    let mut findings: Vec<(String, Findings)> = Vec::new();
    let mut disorder: Vec<(String, Vec<(i64, i64)>)> = Vec::new();
    for shown in options.value("files")?.unwrap_or_default().split(',') {
        let mut found = Findings::default();
        let mut pairs = Vec::new();
        dump(shown, &plan, &mut found, &mut pairs)?;
        findings.push((shown.to_owned(), found));
        disorder.push((shown.to_owned(), pairs));
    }
    for (shown, found) in &findings {
        found.tell_mismatches(shown);
    }
    for (shown, found) in &findings {
        found.tell_times(shown);
    }
    for (shown, pairs) in disorder.iter().filter(|(_, pairs)| !pairs.is_empty()) {
        complain!("Non-consecutive offsets in {shown}");
        pairs.iter().for_each(|(a, b)| complain!("  {a} is followed by {b}"));
    }
    term::flush();
    Ok(())
}

fn dump(shown: &str, plan: &Plan, found: &mut Findings, disorder: &mut Vec<(i64, i64)>) -> Result<(), Exception> {
    say!("Dumping {shown}");
    let path = Path::new(shown);
    match path.extension().and_then(|e| e.to_str()).unwrap_or_default() {
        "log" | "checkpoint" => log::dump(path, shown, plan, disorder),
        "index" => index::dump_offsets(path, shown, plan, found),
        "timeindex" => index::dump_times(path, shown, plan, found),
        "txnindex" => index::dump_transactions(path, shown),
        "snapshot" => index::dump_producers(path, shown),
        _ => {
            complain!("Ignoring unknown file {shown}");
            Ok(())
        }
    }
}
