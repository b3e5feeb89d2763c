//! Reads metrics as OpenTelemetry's protocol encodes them (`opentelemetry.proto.metrics.v1.MetricsData`), as far as
//! KIP-714's clients use it: gauges and sums.
//!
//! A decoder made from the whole schema would build objects for everything that a client cares to send. This one borrows,
//! keeps nothing, and skips what it does not know; what it costs is bounded by the bytes.

use std::fmt;

/// Attributes that are read of a resource or a point; more are left out.
const ATTRIBUTES_MAX: usize = 16;

/// The bytes are not such a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not OpenTelemetry metrics: {}", self.0)
    }
}

/// How a point's value is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Sum {
        /// What was added since the last push; otherwise all that was added.
        is_delta: bool,
        /// It never becomes less.
        is_monotonic: bool,
    },
}

/// A name with what it is on the page.
pub type Attributes<'a> = Vec<(&'a str, Value<'a>)>;

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Text(&'a str),
    Flag(bool),
    Whole(i64),
    Fraction(f64),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Flag(flag) => flag.fmt(f),
            Value::Whole(number) => number.fmt(f),
            Value::Fraction(number) => number.fmt(f),
        }
    }
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point<'a> {
    pub name: &'a str,
    pub kind: Kind,
    /// Of the point itself.
    pub attributes: Attributes<'a>,
    pub value: f64,
}

/// What a message holds besides its points.
#[derive(Debug, Default, PartialEq)]
pub struct Rest<'a> {
    /// Of the client: its group, its rack.
    pub resource: Attributes<'a>,
    /// Metrics of kinds that are not read: histograms, summaries.
    pub unread: usize,
}

/// Shows each point to `each`.
///
/// # Errors
/// The bytes are not such a message; points before the fault were shown.
pub fn read<'a>(bytes: &'a [u8], each: &mut dyn FnMut(Point<'a>)) -> Result<Rest<'a>, Malformed> {
    let mut rest = Rest::default();
    for of_resource in messages(bytes, 1) {
        let of_resource = of_resource?;
        for resource in messages(of_resource, 1) {
            rest.resource.extend(attributes(resource?, 1)?);
            rest.resource.truncate(ATTRIBUTES_MAX);
        }
        for scope in messages(of_resource, 2) {
            for metric in messages(scope?, 2) {
                read_metric(metric?, &mut rest.unread, each)?;
            }
        }
    }
    Ok(rest)
}

fn read_metric<'a>(metric: &'a [u8], unread: &mut usize, each: &mut dyn FnMut(Point<'a>)) -> Result<(), Malformed> {
    let mut name = "";
    let mut data = None;
    for field in Fields(metric) {
        match field? {
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (5, Field::Bytes(bytes)) => data = Some((bytes, Kind::Gauge)),
            (7, Field::Bytes(bytes)) => data = Some((bytes, sum(bytes)?)),
            // Histogram, exponential histogram, summary.
            (9..=11, _) => *unread += 1,
            _ => {}
        }
    }
    let Some((data, kind)) = data else { return Ok(()) };
    for point in messages(data, 1) {
        let point = point?;
        let mut value = None;
        for field in Fields(point) {
            match field? {
                (4, Field::Eight(bits)) => value = Some(f64::from_bits(bits)),
                (6, Field::Eight(bits)) => value = Some(bits as i64 as f64),
                _ => {}
            }
        }
        if let Some(value) = value {
            each(Point { name, kind, attributes: attributes(point, 7)?, value });
        }
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> Result<Kind, Malformed> {
    let (mut is_delta, mut is_monotonic) = (false, false);
    for field in Fields(bytes) {
        match field? {
            (2, Field::Varint(temporality)) => is_delta = temporality == 1,
            (3, Field::Varint(flag)) => is_monotonic = flag != 0,
            _ => {}
        }
    }
    Ok(Kind::Sum { is_delta, is_monotonic })
}

/// The attributes in the field `number` of a message; those of other types are left out.
fn attributes(message: &[u8], number: u32) -> Result<Attributes<'_>, Malformed> {
    let mut all = Vec::new();
    for pair in messages(message, number).take(ATTRIBUTES_MAX) {
        let (mut key, mut value) = ("", None);
        for field in Fields(pair?) {
            match field? {
                (1, Field::Bytes(bytes)) => key = text(bytes)?,
                (2, Field::Bytes(bytes)) => value = any_value(bytes)?,
                _ => {}
            }
        }
        all.extend(value.map(|value| (key, value)));
    }
    Ok(all)
}

fn any_value(bytes: &[u8]) -> Result<Option<Value<'_>>, Malformed> {
    let mut value = None;
    for field in Fields(bytes) {
        value = match field? {
            (1, Field::Bytes(bytes)) => Some(Value::Text(text(bytes)?)),
            (2, Field::Varint(flag)) => Some(Value::Flag(flag != 0)),
            (3, Field::Varint(number)) => Some(Value::Whole(number as i64)),
            (4, Field::Eight(bits)) => Some(Value::Fraction(f64::from_bits(bits))),
            _ => value,
        };
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text that is not UTF-8"))
}

/// The messages in the field `number` of a message.
fn messages(bytes: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields(bytes).filter_map(move |field| match field {
        Ok((at, Field::Bytes(bytes))) if at == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(e) => Some(Err(e)),
    })
}

/// A message's fields, in order. After an error there are no more.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Varint(u64),
    Eight(u64),
    Four,
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Field<'a>), Malformed> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or(Malformed("a field's number"))?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Eight(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed("a length"))?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.fixed::<4>()?;
                Field::Four
            }
            _ => return Err(Malformed("a field's type")),
        };
        Ok((number, field))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number of more than ten bytes"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed("it is cut off"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (first, rest) = self.0.split_at_checked(length).ok_or(Malformed("it is cut off"))?;
        self.0 = rest;
        Ok(first)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
        [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
    }

    fn pair(key: &str, value: &str) -> Vec<u8> {
        [bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat()
    }

    pub fn double(value: f64, attributes: &[(&str, &str)]) -> Vec<u8> {
        let attributes = attributes.iter().map(|(key, value)| bytes(7, &pair(key, value)));
        [vec![4 << 3 | 1], value.to_bits().to_le_bytes().to_vec(), attributes.collect::<Vec<_>>().concat()].concat()
    }

    pub fn whole(value: i64) -> Vec<u8> {
        [vec![6 << 3 | 1], value.to_le_bytes().to_vec()].concat()
    }

    pub fn gauge(name: &str, point: &[u8]) -> Vec<u8> {
        bytes(2, &[bytes(1, name.as_bytes()), bytes(5, &bytes(1, point))].concat())
    }

    pub fn sum_of(name: &str, point: &[u8], temporality: u8, is_monotonic: bool) -> Vec<u8> {
        let sum = [bytes(1, point), vec![2 << 3, temporality, 3 << 3, is_monotonic.into()]].concat();
        bytes(2, &[bytes(1, name.as_bytes()), bytes(7, &sum)].concat())
    }

    /// A message with these metrics, of a client with these attributes.
    pub fn message(resource: &[(&str, &str)], metrics: &[Vec<u8>]) -> Vec<u8> {
        let resource: Vec<u8> = resource.iter().flat_map(|(key, value)| bytes(1, &pair(key, value))).collect();
        bytes(1, &[bytes(1, &resource), bytes(2, &metrics.concat())].concat())
    }

    fn points(message: &[u8]) -> Result<(Vec<Point<'_>>, Rest<'_>), Malformed> {
        let mut points = Vec::new();
        let rest = read(message, &mut |point| points.push(point))?;
        Ok((points, rest))
    }

    #[test]
    fn gauges_and_sums_are_read_with_their_attributes() {
        let histogram = bytes(2, &[bytes(1, b"h"), bytes(9, b"")].concat());
        let metrics = [
            gauge("a", &double(1.5, &[("node.id", "7")])),
            sum_of("b", &whole(-3), 1, true),
            sum_of("c", &double(2.0, &[]), 2, false),
            histogram,
        ];
        let message = message(&[("group_id", "g")], &metrics);
        let (points, rest) = points(&message).unwrap();
        let seen: Vec<_> = points.iter().map(|p| (p.name, p.kind, p.value)).collect();
        assert_eq!(
            seen,
            [
                ("a", Kind::Gauge, 1.5),
                ("b", Kind::Sum { is_delta: true, is_monotonic: true }, -3.0),
                ("c", Kind::Sum { is_delta: false, is_monotonic: false }, 2.0),
            ]
        );
        assert_eq!(points[0].attributes, [("node.id", Value::Text("7"))]);
        assert_eq!(rest, Rest { resource: vec![("group_id", Value::Text("g"))], unread: 1 });
    }

    #[test]
    fn no_bytes_make_it_stumble() {
        let whole =
            message(&[("k", "v")], &[gauge("a", &double(1.0, &[("x", "y")])), sum_of("b", &double(2.0, &[]), 1, true)]);
        for end in 0..whole.len() {
            // Cut off between fields it is still a message.
            let _ = points(&whole[..end]);
        }
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 20) as u8;
            }
            let _ = points(&bytes);
        }
        for bad in [&[0x0a, 0x05][..], &[0x0b], &[0xff; 11], &[0x00, 0x01], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            assert!(points(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn attributes_are_bounded() {
        let many: Vec<(String, String)> = (0..100).map(|i| (format!("k{i}"), "v".to_owned())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let message = message(&many, &[gauge("a", &double(1.0, &many))]);
        let (points, rest) = points(&message).unwrap();
        assert_eq!((points[0].attributes.len(), rest.resource.len()), (ATTRIBUTES_MAX, ATTRIBUTES_MAX));
    }
}
