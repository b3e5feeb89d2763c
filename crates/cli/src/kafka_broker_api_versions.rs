//! `kafka-broker-api-versions`: which requests each broker knows, and in which versions.

use client::admin::BrokerVersions;
use client::versions::ApiVersions;
use wire::{ApiKey, Listener};

use crate::options::{HELP, Opt, VERSION};
use crate::say;
use crate::tool::{self, Stop};

const ABOUT: &str = "This tool helps to retrieve broker version information.";

const OPTIONS: &[Opt] = &[
    Opt::text("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: Brokers to begin with."),
    Opt::text(
        "command-config",
        "command config property file",
        "A file with settings for the client, under Java's names.",
    ),
    HELP,
    VERSION,
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async { tool::end(run(args).await, OPTIONS, tool::print_message) })
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let options = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&options, &["bootstrap-server"])?;
    let mut properties = tool::settings(&options, "command-config")?;
    properties.insert("bootstrap.servers".into(), options.value("bootstrap-server")?.unwrap_or_default().into());
    let admin = tool::admin(&properties).await?;
    let mut brokers = admin.broker_versions().await?;
    brokers.sort_by_key(|b| b.node.node.id);
    for broker in brokers {
        say!("{}", told(&broker));
    }
    Ok(())
}

fn told(broker: &BrokerVersions) -> String {
    let node = &broker.node.node;
    let rack = node.rack.as_deref().unwrap_or("null");
    let name =
        format!("{}:{} (id: {} rack: {rack} isFenced: {})", node.host, node.port, node.id, broker.node.is_fenced);
    match &broker.versions {
        Ok(versions) => format!("{name} -> (\n\t{}\n)", table(versions)),
        Err(error) => format!("{name} -> ERROR: {}: {error}", error.class()),
    }
}

/// By key: what the broker offers, and what clients could ask for but this broker does not know.
fn table(versions: &ApiVersions) -> String {
    let ours = ApiKey::ALL.iter().filter(|k| k.listeners().contains(&Listener::Broker)).map(|k| *k as i16);
    let mut keys: Vec<i16> = versions.iter().map(|(key, _)| key).chain(ours).collect();
    keys.sort_unstable();
    keys.dedup();
    let rows: Vec<String> = keys.into_iter().map(|key| row(key, versions.range(key))).collect();
    rows.join(",\n\t")
}

fn row(key: i16, range: Option<(i16, i16)>) -> String {
    let known = ApiKey::try_from(key).ok();
    let name = known.map_or("UNKNOWN", ApiKey::name);
    let Some((low, high)) = range else { return format!("{name}({key}): UNSUPPORTED") };
    let versions = if low == high { low.to_string() } else { format!("{low} to {high}") };
    let usable = known.map_or_else(String::new, |k| {
        let ours = k.stable_versions();
        if high < *ours.start() {
            " [unusable: node too old]".to_owned()
        } else if *ours.end() < low {
            " [unusable: node too new]".to_owned()
        } else {
            format!(" [usable: {}]", high.min(*ours.end()))
        }
    });
    format!("{name}({key}): {versions}{usable}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_range_and_what_of_it_is_usable() {
        assert_eq!(row(0, Some((0, 13))), "Produce(0): 0 to 13 [usable: 13]");
        assert_eq!(row(3, Some((0, 5))), "Metadata(3): 0 to 5 [usable: 5]");
        assert_eq!(row(47, Some((0, 0))), "OffsetDelete(47): 0 [usable: 0]");
        assert_eq!(row(71, None), "GetTelemetrySubscriptions(71): UNSUPPORTED");
        assert_eq!(row(1, Some((0, 3))), "Fetch(1): 0 to 3 [unusable: node too old]");
        assert_eq!(row(999, Some((0, 1))), "UNKNOWN(999): 0 to 1");
    }
}
