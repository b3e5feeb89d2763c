//! What users see of Java in Kafka Connect: the order of its hash maps, its date patterns and expressions, base64.

pub mod base64;
pub mod calendar;
pub mod date_format;
pub mod hash_map;
pub mod parse;
pub mod regex;
