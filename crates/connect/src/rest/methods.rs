//! Which methods a path has.

/// What `Allow` says of this path, or `None` where nothing is.
pub fn of(path: &[&str]) -> Option<&'static str> {
    const GET: &str = "GET,HEAD,OPTIONS";
    const PUT: &str = "OPTIONS,PUT";
    const POST: &str = "OPTIONS,POST";
    Some(match path {
        [] | ["health" | "metrics" | "connector-plugins"] | ["connector-plugins", _, "config"] => GET,
        ["connector-plugins", _, "config", "validate"] => PUT,
        ["admin", "loggers"] => GET,
        ["admin", "loggers", _] => "GET,HEAD,OPTIONS,PUT",
        ["connectors"] => "GET,HEAD,OPTIONS,POST",
        ["connectors", _, rest @ ..] => match rest {
            [] => "DELETE,GET,HEAD,OPTIONS",
            ["config"] => "GET,HEAD,OPTIONS,PATCH,PUT",
            ["status" | "topics"] | ["tasks", _, "status"] => GET,
            ["tasks"] => "GET,HEAD,OPTIONS,POST",
            ["restart"] | ["tasks", _, "restart"] => POST,
            ["pause" | "resume" | "stop" | "fence"] | ["topics", "reset"] => PUT,
            ["offsets"] => "DELETE,GET,HEAD,OPTIONS,PATCH",
            _ => return None,
        },
        _ => return None,
    })
}
