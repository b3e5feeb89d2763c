//! What `kafka-consumer-groups` does, but for its command line.
//!
//! Reading order: `describe`, then `reset` with the scopes and rules of new offsets, `plan` (CSV) and `when` (times).

pub mod describe;
pub mod plan;
pub mod reset;
pub mod when;

use client::Error;
use client::admin::TopicPartition;

use crate::tool::Exception;

/// How Java tells a call's failure that reaches the tool through a future.
pub fn failed(error: &Error) -> Exception {
    Exception::new("java.util.concurrent.ExecutionException", format!("{}: {error}", error.class()))
}

/// The same where the tool itself had wrapped it once more.
pub fn failed_within(error: &Error) -> Exception {
    Exception::new("java.lang.RuntimeException", failed(error).headline())
}

/// Topics with partitions as the command line gives them: `name:0,1`.
pub fn partitions_of(word: &str) -> Result<Vec<TopicPartition>, Exception> {
    let parts: Vec<&str> = word.split(':').collect();
    let [topic, partitions] = parts[..] else {
        let message = format!("Invalid topic arg '{word}', expected topic name and partitions");
        return Err(Exception::illegal_argument(message));
    };
    let partition = |text: &str| match text.parse() {
        Ok(partition) => Ok((topic.to_owned(), partition)),
        Err(_) => {
            let message = format!("Invalid partition '{text}' specified in topic arg '{word}''");
            Err(Exception::illegal_argument(message))
        }
    };
    partitions.split(',').map(partition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_a_topics_name() {
        assert_eq!(partitions_of("t:0,3").unwrap(), [("t".to_owned(), 0), ("t".to_owned(), 3)]);
        for (word, why) in [
            ("t:x", "Invalid partition 'x' specified in topic arg 't:x''"),
            ("t:", "Invalid partition '' specified in topic arg 't:''"),
            ("a:b:c", "Invalid topic arg 'a:b:c', expected topic name and partitions"),
        ] {
            assert_eq!(partitions_of(word).unwrap_err().message, why);
        }
    }
}
