//! Every message in every version, against bytes that Apache Kafka's own classes wrote
//! (`fixtures/kafka-messages.txt`, made by `fixtures/KafkaMessages.java`), and against damage.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use proptest::prelude::*;
use wire::{
    codec::{Decoder, Element, Encoder, Message},
    messages::testing::{self, StructVisitor, Visitor},
};

/// What Kafka wrote: name, version, bytes, and whether all fields have their defaults.
struct Sample {
    name: &'static str,
    version: i16,
    bytes: Vec<u8>,
    default: bool,
}

fn samples() -> Vec<Sample> {
    read_samples(false)
}

/// Of whole messages, or of the structures inside of them.
fn read_samples(inner: bool) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for line in include_str!("fixtures/kafka-messages.txt").lines() {
        let cells: Vec<&str> = line.split(' ').collect();
        let [name, version, kind, hex] = cells[..] else { panic!("{line}") };
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        if name.contains('.') != inner {
            continue;
        }
        samples.push(Sample { name, version: version.parse().unwrap(), bytes, default: kind == "default" });
    }
    samples
}

fn decode<'a, M: Message<'a>>(bytes: &'a [u8], version: i16) -> (M, usize) {
    let mut d = Decoder::new(bytes);
    let message = M::decode(&mut d, version).unwrap_or_else(|error| panic!("{} {version}: {error}", M::NAME));
    (message, d.remaining())
}

struct RoundTrip {
    version: i16,
    default: bool,
}

impl Visitor for RoundTrip {
    fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
        let (name, version) = (M::NAME, self.version);
        let (message, left) = decode::<M>(bytes, version);
        assert_eq!(left, 0, "{name} {version}: {message:?}");
        assert_eq!(message.to_bytes(version).unwrap(), bytes, "{name} {version}: {message:?}");
        assert_eq!(message.size(version), Ok(bytes.len()), "{name} {version}");
        assert_eq!(message, message.clone());
        if self.default {
            assert_eq!(M::default().to_bytes(version).unwrap(), bytes, "{name} {version}: defaults");
        }
    }
}

#[test]
fn kafkas_bytes_are_read_and_written_again_as_they_were() {
    let samples = samples();
    for Sample { name, version, bytes, default } in &samples {
        testing::visit(name, bytes, &mut RoundTrip { version: *version, default: *default });
    }
    for name in testing::NAMES {
        assert!(samples.iter().any(|sample| sample.name == name), "Kafka wrote no {name}");
    }
}

struct InnerDefault<'t>(&'t Sample);

impl StructVisitor for InnerDefault<'_> {
    fn visit<'a, T: Element<'a> + Default>(&mut self, flexible_from: i16) {
        let Sample { name, version, bytes, .. } = self.0;
        let mut e = Encoder::new();
        e.set_version(*version, *version >= flexible_from);
        T::default().write(&mut e).unwrap_or_else(|error| panic!("{name} {version}: {error}"));
        assert_eq!(e.bytes(), bytes, "{name} {version}");
    }
}

#[test]
fn structures_start_with_kafkas_defaults() {
    let samples = read_samples(true);
    for sample in &samples {
        let (message, name) = sample.name.split_once('.').unwrap();
        testing::visit_struct(message, name, &mut InnerDefault(sample));
    }
    assert!(samples.len() > 400, "{}", samples.len());
}

struct Prefixes {
    version: i16,
}

impl Visitor for Prefixes {
    fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
        for cut in 0..bytes.len() {
            let outcome = M::decode(&mut Decoder::new(&bytes[..cut]), self.version);
            assert!(outcome.is_err(), "{} {} cut at {cut}: {outcome:?}", M::NAME, self.version);
        }
    }
}

#[test]
fn what_is_cut_short_is_an_error() {
    for Sample { name, version, bytes, .. } in samples() {
        testing::visit(name, &bytes, &mut Prefixes { version });
    }
}

/// Writes a message in all versions; what can be written can be read, and is as long as foretold.
struct AllVersions {
    version: i16,
    written: usize,
    refused: usize,
}

impl Visitor for AllVersions {
    fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
        let (message, _) = decode::<M>(bytes, self.version);
        for version in M::VERSIONS {
            let mut e = Encoder::new();
            match message.encode(&mut e, version) {
                Ok(()) => {
                    assert_eq!(message.size(version), Ok(e.len()), "{} {version}", M::NAME);
                    assert!(reads_whole(M::NAME, e.bytes(), version), "{} {version}", M::NAME);
                    self.written += 1;
                }
                Err(error) => {
                    assert_eq!(message.size(version), Err(error));
                    assert_ne!(version, self.version, "{error}");
                    self.refused += 1;
                }
            }
        }
        let beyond = *M::VERSIONS.end() + 1;
        assert!(message.to_bytes(beyond).is_err() && M::decode(&mut Decoder::new(bytes), beyond).is_err());
    }
}

fn reads_whole(name: &str, bytes: &[u8], version: i16) -> bool {
    struct Whole(i16, bool);
    impl Visitor for Whole {
        fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
            let mut d = Decoder::new(bytes);
            self.1 = M::decode(&mut d, self.0).is_ok() && d.remaining() == 0;
        }
    }
    let mut whole = Whole(version, false);
    testing::visit(name, bytes, &mut whole);
    whole.1
}

#[test]
fn a_message_of_one_version_is_written_in_another_or_refused() {
    let (mut written, mut refused) = (0, 0);
    for Sample { name, version, bytes, .. } in samples() {
        let mut visitor = AllVersions { version, written: 0, refused: 0 };
        testing::visit(name, &bytes, &mut visitor);
        written += visitor.written;
        refused += visitor.refused;
    }
    assert!(written > 2000 && refused > 500, "{written} written, {refused} refused");
}

/// Reads bytes that may be anything; what can be read can be written and read again to the same.
pub struct Anything {
    version: i16,
}

impl Visitor for Anything {
    fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
        let (low, high) = (*M::VERSIONS.start(), *M::VERSIONS.end());
        let version = low + self.version.rem_euclid(high - low + 1);
        let Ok(message) = M::decode(&mut Decoder::new(bytes), version) else { return };
        // Strings with replaced characters can grow beyond what a string may be; nothing else can fail.
        let Ok(written) = message.to_bytes(version) else { return };
        assert_eq!(message.size(version), Ok(written.len()));
        struct Again<'t>(i16, &'t [u8]);
        impl Visitor for Again<'_> {
            fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
                let (message, left) = decode::<M>(bytes, self.0);
                assert_eq!((message.to_bytes(self.0).as_deref(), left), (Ok(self.1), 0));
            }
        }
        testing::visit(M::NAME, &written, &mut Again(version, &written));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn random_bytes_never_panic(
        message in 0..testing::NAMES.len(),
        version in 0i16..100,
        bytes in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..120),
    ) {
        testing::visit(testing::NAMES[message], &bytes, &mut Anything { version });
    }

    #[test]
    fn damaged_messages_never_panic(
        sample in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        thread_local!(static SAMPLES: Vec<Sample> = samples());
        SAMPLES.with(|samples| {
            let sample = &samples[sample.index(samples.len())];
            let mut bytes = sample.bytes.clone();
            for (at, byte) in &damage {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            struct InVersion(i16);
            impl Visitor for InVersion {
                fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
                    Anything { version: self.0 - *M::VERSIONS.start() }.visit::<M>(bytes);
                }
            }
            testing::visit(sample.name, &bytes, &mut InVersion(sample.version));
        });
    }
}
