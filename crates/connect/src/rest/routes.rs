//! Which request is whose, and what is read from it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use connect_api::Properties;
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use serde_json::{Value as Json, json};

use super::server::Asked;
use super::{answers, methods, plugins};
use crate::herder::group::{ALGORITHM, SIGNATURE};
use crate::herder::{Answer, Herder, Loggers, Refusal};
use crate::store::{RestartRequest, TargetState, TaskId};

/// An answer on its way out.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Option<String>,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    /// The rest of the request is not read.
    pub closes: bool,
}

impl Reply {
    fn json(status: u16, json: &Json) -> Reply {
        Reply { body: Some(json.to_string()), ..Reply::empty(status) }
    }

    fn empty(status: u16) -> Reply {
        Reply { status, body: None, content_type: "application/json", headers: Vec::new(), closes: false }
    }

    pub fn error(status: u16, message: impl Into<String>) -> Reply {
        Reply::json(status, &json!({"error_code": status, "message": message.into()}))
    }

    pub fn closing(self) -> Reply {
        Reply { closes: true, ..self }
    }
}

/// Answers a request, here or through the worker that can.
pub async fn answer(herder: &Arc<Herder>, asked: Asked) -> Reply {
    let decoded: Option<Vec<String>> = asked.path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
    let Some(segments) = decoded else { return Reply::error(400, "HTTP 400 Bad Request") };
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let allowed = methods::of(&path);
    if let (Some(allowed), true) = (allowed, asked.method == Method::OPTIONS) {
        let reply = Reply { body: Some(allowed.replace(',', ", ")), content_type: "text/plain", ..Reply::empty(200) };
        return Reply { headers: vec![("allow", allowed.to_owned())], ..reply };
    }
    match route(herder, &asked, &path).await {
        Ok(reply) => reply,
        Err(Refusal::Status(404, _)) if allowed.is_some_and(|allowed| !has(allowed, &asked.method)) => {
            let headers = allowed.map(|allowed| ("allow", allowed.to_owned())).into_iter().collect();
            Reply { headers, ..Reply::error(405, "HTTP 405 Method Not Allowed") }
        }
        Err(Refusal::Status(status, message)) => Reply::error(status, message),
        Err(Refusal::Elsewhere(url)) => elsewhere(&asked, &url).await,
    }
}

fn has(allowed: &str, method: &Method) -> bool {
    allowed.split(',').any(|one| one == method.as_str())
}

/// Sends a request on to the worker that can answer it: from a follower to the leader, and from there to whoever runs what
/// is meant, and no further.
async fn elsewhere(asked: &Asked, url: &str) -> Reply {
    let forward = parameters(&asked.query, "forward").next();
    let next = match forward.as_deref() {
        None => "forward=true",
        Some("true") => "forward=false",
        Some(_) => {
            let why = "Cannot complete request because of a conflicting operation (e.g. worker rebalance)";
            return Reply::error(409, why);
        }
    };
    let kept = asked.query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("forward="));
    let query: Vec<&str> = kept.chain([next]).collect();
    let target = format!("{}{}?{}", url.trim_end_matches('/'), asked.path, query.join("&"));
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    match super::send(asked.method.as_str(), &target, &[], body).await {
        Ok((status, body)) => Reply { body: Some(body).filter(|b| !b.is_empty()), ..Reply::empty(status) },
        Err(error) => Reply::error(500, format!("IO Error trying to forward REST request: {}", error.message)),
    }
}

/// `%41` and `+`; none when it is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The values of a parameter.
fn parameters<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = String> + 'q {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('=').or(Some((pair, ""))));
    pairs.filter(move |(key, _)| *key == name).filter_map(|(_, value)| decode(&value.replace('+', " ")))
}

fn flag(query: &str, name: &str, default: bool) -> bool {
    parameters(query, name).next().map_or(default, |value| value.eq_ignore_ascii_case("true"))
}

/// A body that is JSON, with Kafka's status for one that is not.
fn body(asked: &Asked) -> Answer<Json> {
    let kind = asked.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        return Err(Refusal::Status(415, "HTTP 415 Unsupported Media Type".to_owned()));
    }
    serde_json::from_slice(&asked.body).map_err(|e| {
        let what = if asked.body.is_empty() {
            "The request has no body".to_owned()
        } else {
            format!("The request's body is no JSON: {e}")
        };
        Refusal::Status(500, what)
    })
}

/// Settings from an object of texts, numbers and booleans; null is no value.
fn properties(json: &Json) -> Answer<Vec<(String, Option<String>)>> {
    let Json::Object(object) = json else {
        return Err(Refusal::Status(
            500,
            format!("Cannot deserialize the settings from {}: an object of texts is wanted", short(json)),
        ));
    };
    let text = |(name, value): (&String, &Json)| match value {
        Json::Null => Ok((name.clone(), None)),
        Json::String(text) => Ok((name.clone(), Some(text.clone()))),
        Json::Bool(_) | Json::Number(_) => Ok((name.clone(), Some(value.to_string()))),
        _ => Err(Refusal::Status(
            500,
            format!("Cannot deserialize value of type `java.lang.String` for the setting {name}"),
        )),
    };
    object.iter().map(text).collect()
}

fn short(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

fn settings(json: &Json) -> Answer<Properties> {
    Ok(properties(json)?.into_iter().filter_map(|(k, v)| Some((k, v?))).collect())
}

/// Refuses fields that a request does not have.
fn only(json: &Json, known: &[&str]) -> Answer<()> {
    match json.as_object().and_then(|o| o.keys().find(|k| !known.contains(&k.as_str()))) {
        None => Ok(()),
        Some(other) => Err(Refusal::Status(
            500,
            format!(
                "Unrecognized field \"{other}\", not marked as ignorable ({} known properties: {})",
                known.len(),
                known.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ")
            ),
        )),
    }
}

async fn route(herder: &Arc<Herder>, asked: &Asked, path: &[&str]) -> Answer<Reply> {
    let ok = |json: Json| Ok(Reply::json(200, &json));
    let method = match asked.method {
        Method::HEAD => "GET",
        _ => asked.method.as_str(),
    };
    if !matches!(path, [] | ["health"] | ["metrics"]) && !herder.ready.load(Relaxed) {
        return Err(Refusal::Status(503, "The worker is still starting up.".to_owned()));
    }
    match (method, path) {
        ("GET", []) => ok(json!({
            "version": crate::KAFKA_VERSION,
            "commit": crate::COMMIT,
            "kafka_cluster_id": herder.cluster_id,
        })),
        ("GET", ["health"]) => Ok(health(herder)),
        ("GET", ["metrics"]) => {
            let page = Reply { body: Some(herder.worker.metrics_page()), ..Reply::empty(200) };
            Ok(Reply { content_type: "text/plain; version=0.0.4; charset=utf-8", ..page })
        }
        ("GET", ["connectors"]) => connectors(herder, &asked.query).map(|json| Reply::json(200, &json)),
        ("POST", ["connectors"]) => create(herder, asked).await,
        (_, ["connectors", name, rest @ ..]) => connector(herder, asked, method, name, rest).await,
        ("GET", ["connector-plugins"]) => ok(plugins::list(herder, flag(&asked.query, "connectorsOnly", true))),
        ("GET", ["connector-plugins", name, "config"]) => ok(plugins::config(herder, name)?),
        ("PUT", ["connector-plugins", name, "config", "validate"]) => {
            ok(plugins::validate(herder, name, settings(&body(asked)?)?).await?)
        }
        (_, ["admin", "loggers", rest @ ..]) => loggers(herder, asked, method, rest).await,
        _ => Err(no_such()),
    }
}

fn no_such() -> Refusal {
    Refusal::Status(404, "HTTP 404 Not Found".to_owned())
}

fn health(herder: &Herder) -> Reply {
    match herder.ready.load(Relaxed) {
        true => Reply::json(
            200,
            &json!({
                "status": "healthy",
                "message": "Worker has completed startup and is ready to handle requests.",
            }),
        ),
        false => Reply::json(503, &json!({"status": "starting", "message": "Worker is still starting up."})),
    }
}

fn connectors(herder: &Herder, query: &str) -> Answer<Json> {
    let expansions: Vec<String> = parameters(query, "expand").collect();
    let names = herder.names();
    if expansions.is_empty() {
        return Ok(json!(names));
    }
    let mut all = serde_json::Map::new();
    for name in names {
        let mut one = serde_json::Map::new();
        for expansion in &expansions {
            // A connector that is gone meanwhile is left out.
            match expansion.as_str() {
                "status" => drop(herder.state(&name).map(|s| one.insert("status".to_owned(), answers::state(&s)))),
                "info" => drop(herder.info(&name).map(|i| one.insert("info".to_owned(), answers::info(&i)))),
                _ => {}
            }
        }
        all.insert(name, Json::Object(one));
    }
    Ok(Json::Object(all))
}

async fn create(herder: &Arc<Herder>, asked: &Asked) -> Answer<Reply> {
    let request = body(asked)?;
    only(&request, &["name", "config", "initial_state"])?;
    let text = |name: &str| {
        request.get(name).filter(|v| !v.is_null()).map(|value| match value {
            Json::String(text) => Some(text.clone()),
            Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
            _ => None,
        })
    };
    let name = text("name").flatten().unwrap_or_default().trim().to_owned();
    let target = match text("initial_state").map(|s| s.map(|s| s.to_ascii_uppercase())) {
        None => None,
        Some(Some(s)) if s == "RUNNING" => Some(TargetState::Started),
        Some(Some(s)) if s == "PAUSED" => Some(TargetState::Paused),
        Some(Some(s)) if s == "STOPPED" => Some(TargetState::Stopped),
        Some(other) => {
            return Err(Refusal::Status(
                500,
                format!(
                    "Cannot read initial_state {}: it is one of RUNNING, PAUSED, STOPPED",
                    other.unwrap_or_default()
                ),
            ));
        }
    };
    let config = match request.get("config") {
        Some(config) if !config.is_null() => settings(config)?,
        _ => return Err(Refusal::Status(500, "The request has no config".to_owned())),
    };
    check_name(&name, &config)?;
    let (_, info) = herder.put_connector(&name, config, target, false).await?;
    let location = format!("{}connectors/{}", herder.worker.config.advertised_url(), encode(&name));
    Ok(Reply { headers: vec![("location", location)], ..Reply::json(201, &answers::info(&info)) })
}

fn check_name(name: &str, config: &Properties) -> Answer<()> {
    match config.get("name") {
        Some(given) if given != name => Err(Refusal::bad_request(format!(
            "Connector name configuration ({given}) doesn't match connector name in the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

/// A name as part of a path.
pub fn encode(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(byte as char),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Everything under one connector.
async fn connector(herder: &Arc<Herder>, asked: &Asked, method: &str, name: &str, rest: &[&str]) -> Answer<Reply> {
    let ok = |json: Json| Ok(Reply::json(200, &json));
    let task = |number: &str| -> Answer<TaskId> {
        let task = number.parse().map_err(|_| no_such())?;
        Ok(TaskId { connector: name.to_owned(), task })
    };
    match (method, rest) {
        ("GET", []) => ok(answers::info(&herder.info(name)?)),
        ("DELETE", []) => herder.delete_connector(name).await.map(|()| Reply::empty(204)),
        ("GET", ["config"]) => ok(json!(herder.config(name)?)),
        ("PUT", ["config"]) => {
            let config = settings(&body(asked)?)?;
            check_name(name, &config)?;
            let (created, info) = herder.put_connector(name, config, None, true).await?;
            let location = format!("{}connectors/{}", herder.worker.config.advertised_url(), encode(name));
            let headers = if created { vec![("location", location)] } else { Vec::new() };
            Ok(Reply { headers, ..Reply::json(if created { 201 } else { 200 }, &answers::info(&info)) })
        }
        ("PATCH", ["config"]) => ok(answers::info(&herder.patch_connector(name, properties(&body(asked)?)?).await?)),
        ("GET", ["status"]) => ok(answers::state(&herder.state(name)?)),
        ("GET", ["tasks"]) => {
            let tasks = herder.tasks(name)?;
            ok(tasks.iter().map(|(id, config)| json!({"id": answers::task_id(id), "config": config})).collect())
        }
        ("POST", ["tasks"]) => put_tasks(herder, asked, name).await,
        ("GET", ["tasks", number, "status"]) => {
            let id = task(number)?;
            ok(answers::task_state(&id, &herder.task_state(&id)?))
        }
        ("POST", ["tasks", number, "restart"]) => herder.restart_task(&task(number)?).await.map(|()| Reply::empty(204)),
        ("POST", ["restart"]) => {
            let include_tasks = flag(&asked.query, "includeTasks", false);
            let only_failed = flag(&asked.query, "onlyFailed", false);
            if !include_tasks && !only_failed {
                return herder.restart_connector(name).await.map(|()| Reply::empty(204));
            }
            let request = RestartRequest { connector: name.to_owned(), only_failed, include_tasks };
            Ok(Reply::json(202, &answers::state(&herder.restart(&request).await?)))
        }
        ("PUT", ["pause"]) => herder.set_target(name, TargetState::Paused).await.map(|()| Reply::empty(202)),
        ("PUT", ["resume"]) => herder.set_target(name, TargetState::Started).await.map(|()| Reply::empty(202)),
        ("PUT", ["stop"]) => herder.stop_connector(name).await.map(|()| Reply::empty(204)),
        ("GET", ["topics"]) => ok(json!({name: {"topics": herder.topics(name)?}})),
        ("PUT", ["topics", "reset"]) => herder.reset_topics(name).map(|()| Reply::empty(202)),
        ("GET", ["offsets"]) => {
            let with_lag = parameters(&asked.query, "expand").any(|e| e == "lag");
            ok(herder.offsets(name, with_lag).await?)
        }
        ("PATCH", ["offsets"]) => {
            let changes = changes(&body(asked)?)?;
            ok(json!({"message": herder.alter_offsets(name, Some(changes)).await?}))
        }
        ("DELETE", ["offsets"]) => ok(json!({"message": herder.alter_offsets(name, None).await?})),
        ("PUT", ["fence"]) => {
            Err(Refusal::Status(500, "This worker does not support exactly-once source connectors.".to_owned()))
        }
        _ => Err(no_such()),
    }
}

/// What a connector's worker tells the leader.
async fn put_tasks(herder: &Arc<Herder>, asked: &Asked, name: &str) -> Answer<Reply> {
    if let Some(group) = &herder.group {
        let header = |name| asked.headers.get(name).and_then(|v| v.to_str().ok());
        group.check_signature(header(SIGNATURE), header(ALGORITHM), &asked.body)?;
    }
    let Json::Array(tasks) = body(asked)? else { return Err(Refusal::bad_request("An array of settings is wanted")) };
    let tasks: Vec<Properties> = tasks.iter().map(settings).collect::<Answer<_>>()?;
    herder.put_tasks(name, &tasks).await.map(|()| Reply::empty(204))
}

/// The changes that a request asks for.
fn changes(request: &Json) -> Answer<Vec<crate::herder::Change>> {
    only(request, &["offsets"])?;
    let wanted = || Refusal::bad_request("Partitions / offsets need to be provided for an alter offsets request");
    let offsets = match request.get("offsets") {
        None | Some(Json::Null) => return Err(wanted()),
        Some(Json::Array(offsets)) if offsets.is_empty() => return Err(wanted()),
        Some(Json::Array(offsets)) => offsets,
        Some(other) => {
            let why = format!("Cannot deserialize the offsets from {}: an array is wanted", short(other));
            return Err(Refusal::Status(500, why));
        }
    };
    let change = |entry: &Json| {
        only(entry, &["partition", "offset"])?;
        let partition = entry.get("partition").filter(|p| !p.is_null());
        let partition = partition.ok_or_else(|| Refusal::bad_request("The partition cannot be null"))?;
        Ok((partition.clone(), entry.get("offset").filter(|o| !o.is_null()).cloned()))
    };
    offsets.iter().map(change).collect()
}

async fn loggers(herder: &Arc<Herder>, asked: &Asked, method: &str, rest: &[&str]) -> Answer<Reply> {
    let one = |level: &crate::herder::Level| json!({"level": level.name(), "last_modified": level.modified});
    match (method, rest) {
        ("GET", []) => {
            let all: serde_json::Map<String, Json> =
                herder.loggers.all().iter().map(|(name, level)| (name.clone(), one(level))).collect();
            Ok(Reply::json(200, &Json::Object(all)))
        }
        ("GET", [name]) => match herder.loggers.get(name) {
            Some(level) => Ok(Reply::json(200, &one(&level))),
            None => Err(Refusal::not_found(format!("Logger {name} not found."))),
        },
        ("PUT", [name]) => {
            let request = body(asked)?;
            let Some(word) = request.get("level").and_then(Json::as_str) else {
                return Err(Refusal::bad_request("Desired 'level' parameter was not specified in request."));
            };
            let level =
                Loggers::parse(word).ok_or_else(|| Refusal::not_found(format!("invalid log level '{word}'.")))?;
            let scope = parameters(&asked.query, "scope").next().unwrap_or_default();
            if scope.eq_ignore_ascii_case("cluster") {
                herder.set_cluster_level(name, word).await?;
                return Ok(Reply::empty(204));
            }
            Ok(Reply::json(200, &json!(herder.loggers.set(name, level))))
        }
        _ => Err(no_such()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_encoded() {
        assert_eq!(decode("a%20b%C3%A4+").as_deref(), Some("a bä+"));
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(encode("a bä"), "a%20b%C3%A4");
    }

    #[test]
    fn parameters_may_be_repeated() {
        let query = "expand=status&expand=info&x&flag=TRUE";
        assert_eq!(parameters(query, "expand").collect::<Vec<_>>(), ["status", "info"]);
        assert!(flag(query, "flag", false) && flag("", "flag", true) && !flag("flag=no", "flag", true));
    }
}
