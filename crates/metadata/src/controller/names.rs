//! What a topic may be called.

use wire::ErrorCode;

use super::Refusal;

/// The longest name: `NAME-PARTITION` and the suffixes of deletion must fit into a file name.
const MAX_LENGTH: usize = 249;

/// Kafka's rules for topic names, with its texts.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION.
pub fn check_topic_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // Kafka counts UTF-16 units.
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > MAX_LENGTH {
        format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
    } else if !name.bytes().all(legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_refuses_are_refused_with_its_texts() {
        let long = "x".repeat(250);
        for (name, text) in [
            ("", "Topic name is invalid: the empty string is not allowed".to_owned()),
            (".", "Topic name is invalid: '.' is not allowed".to_owned()),
            ("..", "Topic name is invalid: '..' is not allowed".to_owned()),
            (&long, format!("Topic name is invalid: the length of '{long}' is longer than the max allowed length 249")),
            (
                "../x",
                "Topic name is invalid: '../x' contains one or more characters other than ASCII alphanumerics, '.', \
                 '_' and '-'"
                    .to_owned(),
            ),
            (
                "가나",
                "Topic name is invalid: '가나' contains one or more characters other than ASCII alphanumerics, '.', \
                 '_' and '-'"
                    .to_owned(),
            ),
        ] {
            assert_eq!(check_topic_name(name), Err(Refusal::new(ErrorCode::InvalidTopicException, text)));
        }
        for name in ["a", "...", "A-1_b.c", &"x".repeat(249)] {
            assert_eq!(check_topic_name(name), Ok(()));
        }
    }
}
