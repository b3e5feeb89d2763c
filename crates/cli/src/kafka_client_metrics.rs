//! `kafka-client-metrics`: which metrics clients are to push (KIP-714).

use client::Error;
use client::admin::{Admin, ConfigChange, Resource, ResourceType};

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::storage_tool::format::random_uuid;
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};

const ABOUT: &str = "This tool helps to manipulate and describe client metrics configurations.";

const OPTIONS: &[Opt] = &[
    Opt::flag("alter", "Change a subscription to client metrics, or make it."),
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
    Opt::flag("delete", "Delete a subscription."),
    Opt::flag("describe", "Show the settings of one subscription, or of all."),
    Opt::flag("generate-name", "With --alter: make up a name."),
    HELP,
    Opt::text("interval", "push interval", "How often clients push, in milliseconds; empty for the default."),
    Opt::flag("list", "List the names of the subscriptions."),
    Opt::text(
        "match",
        "k1=v1,k2=v2",
        "Which clients, by client_id, client_instance_id, client_software_name, client_software_version, client_source_address and client_source_port; empty for all.",
    ),
    Opt::text("metrics", "m1,m2", "The beginnings of the names of metrics; empty for none."),
    Opt::text("name", "name", "The name of the subscription."),
    VERSION,
];

/// Options that set something, and the setting.
const SETTINGS: [(&str, &str); 3] = [("interval", "interval.ms"), ("match", "match"), ("metrics", "metrics")];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = options(args).and_then(|o| tool::block_on(run(&o)));
    tool::end(result, OPTIONS, |exception| {
        if exception.class == "java.lang.IllegalArgumentException" || exception.class.starts_with("joptsimple.") {
            return complain!("{}", exception.message);
        }
        say!("Error while executing client metrics command : {}", exception.message);
        if let Some(cause) = &exception.cause {
            complain!("Caused by: {cause}");
        }
    })
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args).map_err(|stop| match stop {
        // What was wrong with the words, and then which there are.
        Stop::Thrown(e) => Stop::Usage(e.message),
        stop => stop,
    })?;
    if ["alter", "delete", "describe", "list"].iter().filter(|action| o.has(action)).count() != 1 {
        let message = "Command must include exactly one action: --alter, --delete, --describe or --list.";
        return Err(Stop::Usage(message.to_owned()));
    }
    let refuse = |message: &str| Err(Exception::illegal_argument(message).into());
    if !o.has("bootstrap-server") {
        return refuse("--bootstrap-server must be specified.");
    }
    tool::forbid(
        &o,
        "list",
        &["describe", "alter", "delete", "name", "generate-name", "metrics", "interval", "match"],
    )?;
    tool::forbid(&o, "describe", &["generate-name", "metrics", "interval", "match"])?;
    tool::forbid(&o, "delete", &["generate-name", "metrics", "interval", "match"])?;
    if o.has("alter") {
        if o.has("name") == o.has("generate-name") {
            return refuse("One of --name or --generate-name must be specified with --alter.");
        }
        if o.value("interval")?.is_some_and(|text| !text.is_empty() && text.parse::<i32>().is_err()) {
            return refuse("Invalid interval value. Enter an integer, or leave empty to reset.");
        }
    }
    if o.has("delete") && !o.has("name") {
        return refuse("A client metrics resource name must be specified with --delete.");
    }
    Ok(o)
}

fn failed(error: Error) -> Exception {
    Exception::from(error)
}

fn subscription(name: &str) -> Resource {
    Resource { kind: ResourceType::ClientMetrics, name: name.to_owned() }
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    let mut properties = tool::settings(o, "command-config")?;
    properties.insert("bootstrap.servers".into(), o.value("bootstrap-server")?.unwrap_or_default().into());
    let admin = tool::admin(&properties).await?;
    let name = o.value("name")?;
    match (o.has("alter"), o.has("delete"), o.has("describe")) {
        (true, ..) => alter(&admin, o, name.map_or_else(|| random_uuid().to_string(), str::to_owned)).await,
        (_, true, _) => delete(&admin, name.unwrap_or_default()).await,
        (_, _, true) => describe(&admin, name).await,
        _ => {
            let names = admin.list_config_resources(ResourceType::ClientMetrics).await.map_err(failed)?;
            say!("{}", names.join("\n"));
            Ok(())
        }
    }
}

async fn alter(admin: &Admin, o: &Parsed, name: String) -> Result<(), Stop> {
    let mut changes = Vec::new();
    for (option, setting) in SETTINGS {
        if let Some(value) = o.value(option)? {
            let change = if value.is_empty() { ConfigChange::Delete } else { ConfigChange::Set(value.to_owned()) };
            changes.push((setting.to_owned(), change));
        }
    }
    admin.alter_configs(&subscription(&name), &changes).await.map_err(failed)?;
    say!("Altered client metrics config for {name}.");
    Ok(())
}

async fn delete(admin: &Admin, name: &str) -> Result<(), Stop> {
    let resource = subscription(name);
    let settings = admin.describe_configs(std::slice::from_ref(&resource)).await.map_err(failed)?;
    let changes: Vec<(String, ConfigChange)> =
        settings.into_iter().flatten().map(|entry| (entry.name, ConfigChange::Delete)).collect();
    admin.alter_configs(&resource, &changes).await.map_err(failed)?;
    say!("Deleted client metrics config for {name}.");
    Ok(())
}

async fn describe(admin: &Admin, name: Option<&str>) -> Result<(), Stop> {
    let mut names = admin.list_config_resources(ResourceType::ClientMetrics).await.map_err(failed)?;
    if let Some(name) = name {
        names.retain(|known| known == name);
        if names.is_empty() {
            say!("The client metric resource {name} doesn't exist and doesn't have dynamic config.");
        }
    }
    for name in names {
        say!("Client metrics configs for {name} are:");
        let settings = admin.describe_configs(&[subscription(&name)]).await.map_err(failed)?;
        let mut settings: Vec<_> = settings.into_iter().flatten().collect();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in settings {
            say!("  {}={}", entry.name, entry.value.unwrap_or_default());
        }
    }
    Ok(())
}
