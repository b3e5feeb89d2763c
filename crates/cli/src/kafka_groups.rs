//! `kafka-groups`: list groups of all kinds.

use crate::consumer_groups::failed;
use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};

const ABOUT: &str = "This tool helps to list groups of all types.";

const OPTIONS: &[Opt] = &[
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text(
        "command-config",
        "command config property file",
        "A file with settings for the client, under Java's names.",
    ),
    Opt::flag(
        "consumer",
        "Only groups of consumers: of type consumer, or classic ones that speak its protocol or none.",
    ),
    Opt::text("group-type", "type", "Only groups of this type: classic, consumer, share or streams."),
    HELP,
    Opt::flag("list", "List the groups."),
    Opt::text("protocol", "protocol", "Only groups with this protocol type, such as consumer or connect."),
    Opt::flag("share", "Only share groups."),
    Opt::flag("streams", "Only streams groups."),
    VERSION,
];

const TYPES: [&str; 4] = ["Classic", "Consumer", "Share", "Streams"];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = options(args).and_then(|options| tool::block_on(run(&options)));
    tool::end(result, OPTIONS, |exception| {
        complain!("{}", exception.message);
        complain!("{}", exception.headline());
        if let Some(cause) = &exception.cause {
            complain!("Caused by: {cause}");
        }
    })
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&o, &["bootstrap-server"])?;
    if !o.has("list") {
        return Err(Stop::Usage("Command must include exactly one action: --list.".into()));
    }
    tool::forbid(&o, "consumer", &["group-type", "protocol", "share", "streams"])?;
    tool::forbid(&o, "share", &["consumer", "group-type", "protocol", "streams"])?;
    tool::forbid(&o, "streams", &["consumer", "group-type", "protocol", "share"])?;
    if let Some(name) = o.value("group-type")?
        && !TYPES.iter().any(|t| t.eq_ignore_ascii_case(name))
    {
        return Err(Exception::illegal_argument("--group-type must be a valid group type.").into());
    }
    Ok(o)
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    let mut properties = tool::settings(o, "command-config")?;
    properties.insert("bootstrap.servers".into(), o.value("bootstrap-server")?.unwrap_or_default().into());
    let admin = tool::admin(&properties).await?;
    let mut groups = admin.list_groups(&[], &[]).await.map_err(|e| failed(&e))?;
    let (wanted_type, wanted_protocol) = (o.value("group-type")?, o.value("protocol")?);
    groups.retain(|group| {
        let group_type = group.group_type.as_deref().unwrap_or("Classic");
        let is = |name: &str| group_type.eq_ignore_ascii_case(name);
        match () {
            () if o.has("consumer") => {
                is("Consumer") || is("Classic") && ["", "consumer"].contains(&group.protocol_type.as_str())
            }
            () if o.has("share") => is("Share"),
            () if o.has("streams") => is("Streams"),
            () => wanted_type.is_none_or(is) && wanted_protocol.is_none_or(|p| p == group.protocol_type),
        }
    });
    let width = groups.iter().map(|g| g.id.chars().count()).max().unwrap_or(0).max(20);
    say!("{:width$} {:20} {:20}", "GROUP", "TYPE", "PROTOCOL");
    for group in groups {
        let group_type = group.group_type.as_deref().unwrap_or_default();
        say!("{:width$} {group_type:20} {:20}", group.id, group.protocol_type);
    }
    Ok(())
}
