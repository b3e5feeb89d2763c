//! The same cases through Apache Kafka's classes and ours.
//!
//! `cases.txt` has cases and Kafka's answers; that ours are the same is tested without Java, that Kafka's are what the file
//! says with it. Random cases are compared only there.

mod case;
mod oracle;

use std::sync::OnceLock;

use oracle::Oracle;

/// The cases with Kafka's answers: two lines each, the second of which begins with `= `.
const CASES: &str = include_str!("cases.txt");

fn cases() -> Vec<(String, String)> {
    let lines: Vec<&str> = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let pairs = lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].strip_prefix("= ").expect(pair[0]).to_owned()));
    pairs.collect()
}

/// None where there is no Java; with `CI` set that is a failure. It is compiled once for all tests.
fn oracle() -> Option<&'static Oracle> {
    static ORACLE: OnceLock<Result<Oracle, String>> = OnceLock::new();
    match ORACLE.get_or_init(Oracle::new) {
        Ok(oracle) => Some(oracle),
        Err(why) if std::env::var_os("CI").is_some() => panic!("Kafka's classes cannot be asked: {why}"),
        Err(why) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("skipped: Kafka's classes cannot be asked: {why}");
            }
            None
        }
    }
}

/// Fails with all cases whose answers differ.
fn assert_same(answers: impl IntoIterator<Item = (String, String, String)>) {
    let wrong: Vec<String> = answers
        .into_iter()
        .filter(|(_, kafka, other)| kafka != other)
        .map(|(case, kafka, other)| format!("{case}\n  kafka {kafka}\n  here  {other}"))
        .collect();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Random numbers that are the same again for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

fn random_json(random: &mut Random, depth: usize) -> String {
    let names = ["a", "b", "id", "name", "Aa", "BB", "zeta", "key-1", "user_id", "", "é", "x.y"];
    match random.below(if depth < 4 { 10 } else { 7 }) {
        0 => random.of(&["true", "false", "null"]).to_owned(),
        1 => format!("{}", random.0 as i64 >> random.below(64)),
        2 => format!("{}.{}", random.below(100_000), random.below(1000)),
        // Further out the digits depend on the JVM.
        3 => format!("{}e{}", random.below(1000), random.below(24) as i64 - 12),
        4 => format!("\"{}\"", random.of(&["", "x", "line\\nbreak", "€", "2024-02-29", "[1]", "a\\\"b"])),
        5 => format!("-{}", random.below(70_000)),
        6 => format!("\"{}{}\"", random.of(&names), random.below(1000)),
        7 => {
            let items: Vec<String> = (0..random.below(6)).map(|_| random_json(random, depth + 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let member = |random: &mut Random| {
                let name = format!("{}{}", random.of(&names), random.of(&["", "1", "22", "_x"]));
                format!("\"{name}\":{}", random_json(random, depth + 1))
            };
            let members: Vec<String> = (0..random.below(20)).map(|_| member(random)).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Tokens in any order: mostly not what anybody would write.
fn random_header(random: &mut Random) -> String {
    let tokens = [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\\\\",
        " ",
        "null",
        "true",
        "false",
        "1",
        "-200",
        "70000",
        " 1.5",
        "1e50",
        "abc",
        "2024-02-29",
        "13:05:09.007Z",
        "5000000000",
    ];
    (0..random.below(9) + 1).map(|_| random.of(&tokens)).collect()
}

#[test]
fn random_cases_have_kafkas_answers() {
    let Some(oracle) = oracle() else { return };
    let mut random = Random(0x5eed_2026);
    let mut cases = Vec::new();
    for _ in 0..2000 {
        let json = random_json(&mut random, 0).replace('\\', "\\\\");
        cases.push(format!("json\tschemas.enable=false\t{json}"));
        cases.push(format!("header\t{}", random_header(&mut random)));
        let settings = [
            "transforms.ReplaceField$Value\texclude=a,b1",
            "transforms.Flatten$Value\t",
            "transforms.InsertField$Value\ttopic.field=t",
        ];
        cases.push(format!("transform\t{}\t-\t{{\"schema\":null,\"payload\":{json}}}", random.of(&settings)));
    }
    let answers = oracle.answers(&cases);
    assert_same(cases.into_iter().zip(answers).map(|(case, kafka)| {
        let ours = case::answer(&case);
        (case, kafka, ours)
    }));
}

#[test]
fn our_answers_are_kafkas() {
    let cases = cases();
    assert!(cases.len() > 100, "the file of cases is cut off");
    assert_same(cases.into_iter().map(|(case, kafka)| {
        let ours = case::answer(&case);
        (case, kafka, ours)
    }));
}

#[test]
fn kafka_answers_as_the_file_says() {
    let Some(oracle) = oracle() else { return };
    let (asked, written): (Vec<String>, Vec<String>) = cases().into_iter().unzip();
    let answers = oracle.answers(&asked);
    assert_same(asked.into_iter().zip(answers).zip(written).map(|((case, kafka), written)| (case, kafka, written)));
}
