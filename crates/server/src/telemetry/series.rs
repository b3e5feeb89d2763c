//! What clients pushed, as the metrics page shows it: bounded in number and in size, for everything here comes from clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use metadata::config::client_metrics::Client;
use wire::Uuid;

use super::otlp::{Attributes, Kind, Point};
use crate::metrics::page::{self, Number, Page};

/// Series of one client.
const OF_CLIENT_MAX: usize = 2_000;
/// Series of all clients.
const ALL_MAX: usize = 20_000;
/// Bytes of a name, and of a series' labels.
const NAME_MAX: usize = 200;
const LABELS_MAX: usize = 512;
/// What names on the page begin with, so that no client can pass for the broker.
const PREFIX: &str = "kafka_client_";
/// What Kafka's own names begin with.
const KAFKA: &str = "org.apache.kafka.";

/// One client's series by name and by its labels as they are written.
#[derive(Debug, Default)]
struct OfClient {
    /// As labels, the client's and those of its resource.
    about: String,
    client: String,
    series: HashMap<(Box<str>, Box<str>), Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    is_counter: bool,
    value: f64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Series {
    clients: BTreeMap<Uuid, OfClient>,
    count: usize,
    /// Values for which there was no room, or that have no place on the page.
    pub dropped: u64,
}

impl Series {
    /// Takes in what a client pushed.
    pub fn take(&mut self, id: Uuid, client: &Client, resource: &Attributes<'_>, points: Vec<Point<'_>>) {
        let of_client = self.clients.entry(id).or_default();
        let mut about = vec![("client_instance_id", client.instance_id.clone())];
        about.push(("client_id", client.id.clone().unwrap_or_default()));
        of_client.client = labels(about.iter().map(|(name, value)| (*name, value as &dyn std::fmt::Display)));
        about.push(("client_software_name", client.software_name.clone()));
        about.push(("client_software_version", client.software_version.clone()));
        about.push(("client_source_address", client.source_address.clone()));
        let own = about.iter().map(|(name, value)| (*name, value as &dyn std::fmt::Display));
        of_client.about =
            labels(own.chain(resource.iter().map(|(name, value)| (*name, value as &dyn std::fmt::Display))));
        for point in points {
            let name = name_of(point.name);
            let attributes = point.attributes.iter().map(|(name, value)| (*name, value as &dyn std::fmt::Display));
            let labels = labels(attributes.filter(|(name, _)| !["client_instance_id", "client_id"].contains(name)));
            if name.len() > NAME_MAX || labels.len() > LABELS_MAX {
                self.dropped += 1;
                continue;
            }
            let (is_counter, is_delta) = match point.kind {
                Kind::Gauge => (false, false),
                Kind::Sum { is_delta, is_monotonic } => (is_monotonic, is_delta),
            };
            let key = (name.into(), labels.into());
            let has_room = of_client.series.len() < OF_CLIENT_MAX && self.count < ALL_MAX;
            match of_client.series.get_mut(&key) {
                Some(known) if is_delta => known.value += point.value,
                Some(known) => known.value = point.value,
                None if has_room => {
                    of_client.series.insert(key, Sample { is_counter, value: point.value });
                    self.count += 1;
                }
                None => self.dropped += 1,
            }
        }
    }

    /// Keeps the clients that `is_known` says yes to.
    pub fn retain(&mut self, is_known: impl Fn(&Uuid) -> bool) {
        self.clients.retain(|id, _| is_known(id));
        self.count = self.clients.values().map(|of_client| of_client.series.len()).sum();
    }

    /// Writes what clients pushed last.
    pub fn write(&self, page: &mut Page) {
        let name = "klamm_client_telemetry_info";
        let mut family = page.family(name, page::Kind::Gauge, "Clients that push metrics, and what they are.");
        for of_client in self.clients.values() {
            family.sample_of(&of_client.about, 1);
        }
        let mut families: BTreeMap<&str, Vec<(&str, &str, Sample)>> = BTreeMap::new();
        for of_client in self.clients.values() {
            for ((name, labels), sample) in &of_client.series {
                families.entry(name).or_default().push((&of_client.client, labels, *sample));
            }
        }
        for (name, mut series) in families {
            let counters = series.iter().filter(|(_, _, sample)| sample.is_counter).count();
            let kind = match counters {
                0 => page::Kind::Gauge,
                all if all == series.len() => page::Kind::Counter,
                // Clients do not agree what it is.
                _ => page::Kind::Untyped,
            };
            series.sort_unstable_by_key(|(client, labels, _)| (*client, *labels));
            let mut family = page.family(name, kind, "Pushed by clients (KIP-714).");
            for (client, labels, sample) in series {
                let comma = if labels.is_empty() { "" } else { "," };
                family.sample_of(&format!("{client}{comma}{labels}"), Number(sample.value));
            }
        }
    }
}

/// A name as Prometheus allows it.
fn name_of(name: &str) -> String {
    let name = name.strip_prefix(KAFKA).unwrap_or(name);
    format!("{PREFIX}{}", plain(name))
}

fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Labels as the page has them; of those that become the same name the first.
fn labels<'a>(all: impl Iterator<Item = (&'a str, &'a dyn std::fmt::Display)>) -> String {
    let mut names = BTreeSet::new();
    let mut text = String::new();
    for (name, value) in all {
        let mut name = plain(name);
        if name.is_empty() || name.starts_with("__") || name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert_str(0, "key");
        }
        if !names.insert(name.clone()) {
            continue;
        }
        if !text.is_empty() {
            text.push(',');
        }
        let mut value_text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(value_text, "{value}");
        text.push_str(&name);
        text.push_str("=\"");
        page::escape(&mut text, &value_text);
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::otlp::{Value, read, tests as otlp};
    use super::*;

    fn client(id: &str) -> Client {
        Client {
            instance_id: id.to_owned(),
            id: Some("c\"1".to_owned()),
            software_name: "x".to_owned(),
            software_version: "2".to_owned(),
            source_address: "127.0.0.1".to_owned(),
            source_port: "1".to_owned(),
        }
    }

    fn push(series: &mut Series, id: u128, message: &[u8]) {
        let mut points = Vec::new();
        let rest = read(message, &mut |point| points.push(point)).unwrap();
        series.take(Uuid::from_u128(id), &client(&id.to_string()), &rest.resource, points);
    }

    fn page(series: &Series) -> String {
        let mut page = Page::new();
        series.write(&mut page);
        page.finish()
    }

    #[test]
    fn deltas_add_up_and_other_values_replace() {
        let mut series = Series::default();
        let sent =
            |value| otlp::sum_of("org.apache.kafka.producer.record.send.total", &otlp::double(value, &[]), 1, true);
        let size = |value| otlp::gauge("org.apache.kafka.producer.batch.size", &otlp::double(value, &[("topic", "t")]));
        push(&mut series, 1, &otlp::message(&[("client_rack", "r1")], &[sent(5.0), size(10.0)]));
        push(&mut series, 1, &otlp::message(&[("client_rack", "r1")], &[sent(2.0), size(7.0)]));
        let text = page(&series);
        for line in [
            "# TYPE kafka_client_producer_record_send_total counter",
            "kafka_client_producer_record_send_total{client_instance_id=\"1\",client_id=\"c\\\"1\"} 7",
            "# TYPE kafka_client_producer_batch_size gauge",
            "kafka_client_producer_batch_size{client_instance_id=\"1\",client_id=\"c\\\"1\",topic=\"t\"} 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("client_source_address=\"127.0.0.1\",client_rack=\"r1\"} 1"), "{text}");
        series.retain(|id| *id != Uuid::from_u128(1));
        assert!(!page(&series).contains("c\\\"1") && series.count == 0);
    }

    #[test]
    fn what_clients_make_up_stays_within_bounds_and_on_its_line() {
        let mut series = Series::default();
        for id in 0..15 {
            let metrics: Vec<_> = (0..3_000).map(|i| otlp::gauge(&format!("m{i}"), &otlp::whole(1))).collect();
            push(&mut series, id, &otlp::message(&[], &metrics));
        }
        assert_eq!(series.count, ALL_MAX);
        assert_eq!(series.dropped, 15 * 3_000 - ALL_MAX as u64);
        let long = "x".repeat(10_000);
        let metrics = [otlp::gauge(&long, &otlp::whole(1)), otlp::gauge("a", &otlp::double(1.0, &[("k", &long)]))];
        let dropped = series.dropped;
        push(&mut series, 0, &otlp::message(&[], &metrics));
        assert_eq!(series.dropped, dropped + 2);

        let mut series = Series::default();
        let odd = [("a.b", "1"), ("a-b", "2"), ("__name__", "x\n} 1"), ("", "e"), ("0", "z"), ("client_id", "me")];
        push(&mut series, 1, &otlp::message(&odd, &[otlp::gauge("up\n1 {", &otlp::double(f64::NEG_INFINITY, &odd))]));
        let text = page(&series);
        let labels = "a_b=\"1\",key__name__=\"x\\n} 1\",key=\"e\",key0=\"z\"";
        let line = format!("kafka_client_up_1__{{client_instance_id=\"1\",client_id=\"c\\\"1\",{labels}}} -Inf");
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
    }

    #[test]
    fn clients_that_do_not_agree_what_a_metric_is_make_no_wrong_page() {
        let mut series = Series::default();
        push(&mut series, 1, &otlp::message(&[], &[otlp::gauge("a.b", &otlp::whole(1))]));
        push(&mut series, 2, &otlp::message(&[], &[otlp::sum_of("a-b", &otlp::whole(1), 2, true)]));
        let text = page(&series);
        assert_eq!(text.matches("# TYPE kafka_client_a_b untyped").count(), 1, "{text}");
        assert_eq!(Value::Fraction(0.5).to_string(), "0.5");
    }
}
