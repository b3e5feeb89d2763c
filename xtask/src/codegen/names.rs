//! Kafka's names as Rust's.

/// `TopicId` → `topic_id`, `groupID` → `group_id`.
pub fn snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &c) in characters.iter().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            let after_lower = !characters[i - 1].is_ascii_uppercase();
            let before_lower = characters.get(i + 1).is_some_and(char::is_ascii_lowercase);
            if after_lower || before_lower {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A field's name: snake case, keywords raw.
pub fn field(name: &str) -> String {
    match snake(name).as_str() {
        keyword @ ("type" | "match" | "ref" | "final" | "as" | "in") => format!("r#{keyword}"),
        other => other.to_owned(),
    }
}

/// `UNKNOWN_TOPIC_OR_PARTITION` → `UnknownTopicOrPartition`.
pub fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + &rest.to_lowercase()
        })
        .collect()
}
