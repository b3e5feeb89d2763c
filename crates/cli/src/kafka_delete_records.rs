//! `kafka-delete-records`: delete the records before an offset.

use std::collections::BTreeMap;

use client::admin::TopicPartition;

use crate::json::Json;
use crate::options::{HELP, Opt, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};

const ABOUT: &str = "This tool helps to delete records of the given partitions down to the specified offset.";

const OPTIONS: &[Opt] = &[
    Opt::text(
        "bootstrap-server",
        "server(s) to use for bootstrapping",
        "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text(
        "command-config",
        "command config property file path",
        "A file with settings for the client, under Java's names.",
    ),
    HELP,
    Opt::text(
        "offset-json-file",
        "Offset json file path",
        "REQUIRED: A JSON file with the first offset that stays in each partition (-1: all that can be read goes), as in\n{\"partitions\":\n  [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}],\n \"version\":1\n}",
    ),
    VERSION,
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        tool::end(run(args).await, OPTIONS, |exception| {
            complain!("{}\n{}", exception.message, exception.headline());
            if let Some(cause) = &exception.cause {
                complain!("Caused by: {cause}");
            }
        })
    })
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let options = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&options, &["bootstrap-server", "offset-json-file"])?;
    let path = options.value("offset-json-file")?.unwrap_or_default();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("Unable to read file {path}");
        Exception { cause: Some(error.to_string()), ..Exception::new("java.io.IOException", message) }
    })?;
    let before = parse(&text)?;
    let mut properties = tool::settings(&options, "command-config")?;
    properties.insert("bootstrap.servers".into(), options.value("bootstrap-server")?.unwrap_or_default().into());
    let admin = tool::admin(&properties).await?;
    say!("Executing records delete operation");
    let results = admin.delete_records(&before).await?;
    say!("Records delete operation completed:");
    for ((topic, partition), result) in results {
        match result {
            Ok(low_watermark) => say!("partition: {topic}-{partition}\tlow_watermark: {low_watermark}"),
            Err(error) => say!("partition: {topic}-{partition}\terror: {}: {error}", error.class()),
        }
    }
    Ok(())
}

/// The file's offsets by partition.
fn parse(text: &str) -> Result<BTreeMap<TopicPartition, i64>, Exception> {
    let wrong = |message: &str| Exception::new("org.apache.kafka.tools.AdminOperationException", message);
    let json = Json::parse(text).ok_or_else(|| wrong("The input string is not a valid JSON"))?;
    match json.get("version").and_then(Json::text) {
        None | Some("1") => {}
        Some(other) => return Err(wrong(&format!("Not supported version field value {other}"))),
    }
    let partitions = json.get("partitions").ok_or_else(|| wrong("Missing partitions field"))?;
    let Json::List(partitions) = partitions else { return Err(wrong("The field `partitions` is not a list")) };
    let mut before = BTreeMap::new();
    let mut twice: Vec<String> = Vec::new();
    for entry in partitions {
        let field = |name: &str| {
            entry.get(name).and_then(Json::text).ok_or_else(|| {
                let class = "com.fasterxml.jackson.databind.JsonMappingException";
                Exception::new(class, format!("No such field exists: `{name}`"))
            })
        };
        let topic = field("topic")?.to_owned();
        let number = |name: &str, text: &str| {
            text.parse::<i64>().map_err(|_| wrong(&format!("The field `{name}` is no number: {text}")))
        };
        let partition = number("partition", field("partition")?)?;
        let offset = number("offset", field("offset")?)?;
        let partition = i32::try_from(partition)
            .map_err(|_| wrong(&format!("The field `partition` is no partition: {partition}")))?;
        let name = format!("{topic}-{partition}");
        if before.insert((topic, partition), offset).is_some() && !twice.contains(&name) {
            twice.push(name);
        }
    }
    if twice.is_empty() {
        return Ok(before);
    }
    let message = format!("Offset json file contains duplicate topic partitions: {}", twice.join(","));
    Err(Exception::new("org.apache.kafka.tools.AdminCommandFailedException", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_partitions_with_their_offsets() {
        let text = r#"{"partitions":[{"topic":"a","partition":1,"offset":-1},{"topic":"b","partition":0,"offset":7}],"version":1}"#;
        assert_eq!(parse(text).unwrap(), [(("a".to_owned(), 1), -1), (("b".to_owned(), 0), 7)].into());
        assert_eq!(parse(r#"{"partitions":[]}"#).unwrap(), BTreeMap::new());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        for (text, why) in [
            ("xx", "The input string is not a valid JSON"),
            (r#"{"version":2,"partitions":[]}"#, "Not supported version field value 2"),
            (r#"{"version":1}"#, "Missing partitions field"),
            (r#"{"partitions":7}"#, "The field `partitions` is not a list"),
            (r#"{"partitions":[{"topic":"a","offset":1}]}"#, "No such field exists: `partition`"),
            (r#"{"partitions":[7]}"#, "No such field exists: `topic`"),
            (r#"{"partitions":[{"topic":"a","partition":"x","offset":1}]}"#, "The field `partition` is no number: x"),
            (
                r#"{"partitions":[{"topic":"a","partition":4294967296,"offset":1}]}"#,
                "The field `partition` is no partition: 4294967296",
            ),
            (
                r#"{"partitions":[{"topic":"a","partition":0,"offset":1},{"topic":"a","partition":0,"offset":1}]}"#,
                "Offset json file contains duplicate topic partitions: a-0",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().message, why);
        }
    }
}
