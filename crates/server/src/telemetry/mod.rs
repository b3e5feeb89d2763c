//! Client telemetry (KIP-714): clients are told which metrics to push, and what they push is on the metrics page.
//!
//! In Apache Kafka a plugin has to take the metrics; here the broker itself does, so that the two requests are always
//! served. [`instances`] has Kafka's rules of who may push when, [`otlp`] reads what comes, [`series`] keeps it.

mod instances;
mod otlp;
mod series;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metadata::config::client_metrics::{Client, Subscription};
use metadata::image::{Image, ResourceKind};
use tracing::{debug, warn};
use wire::records::{self, BatchError, Codec};
use wire::{ErrorCode, Uuid};

pub use instances::{Push, Request};

use crate::metrics::page::{Kind, Page};
use instances::Instances;
use series::Series;

/// What clients may compress with, the first the best.
pub const CODECS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];

/// How often what silent clients pushed is looked for.
const SWEEP_MS: i64 = 10_000;

/// See the module.
pub struct Telemetry {
    max_bytes: usize,
    started: Instant,
    /// Never held for long: threads that serve clients wait for it.
    state: Mutex<State>,
    series: Mutex<Kept>,
}

/// What was pushed. Locked before the state, where both are.
#[derive(Default)]
struct Kept {
    series: Series,
    swept_ms: i64,
}

#[derive(Default)]
struct State {
    instances: Instances,
    /// The cluster's state whose subscriptions count.
    offset: Option<i64>,
    settings: Vec<Subscribed>,
    pushes: u64,
    throttled: u64,
    unknown: u64,
    failed: u64,
}

/// A subscription's name and settings.
type Subscribed = (std::sync::Arc<str>, std::sync::Arc<metadata::image::Settings>);

impl Telemetry {
    /// `max_bytes` is `telemetry.max.bytes`.
    pub fn new(max_bytes: i32) -> Telemetry {
        Telemetry {
            max_bytes: max_bytes.max(0) as usize,
            started: Instant::now(),
            state: Mutex::default(),
            series: Mutex::default(),
        }
    }

    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn series(&self) -> MutexGuard<'_, Kept> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.started.elapsed().as_millis() as i64
    }

    /// What a client is to push.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED`: it asked before it should.
    pub fn get(&self, image: &Image, id: Uuid, client: &Client) -> Result<Request, ErrorCode> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        state.prepare(image, id, now_ms);
        let asked = state.instances.get(id, client, now_ms);
        state.count(asked.as_ref().err());
        asked
    }

    /// Takes what a client pushes, which `codec` compressed (`None`: one that is not known here). Takes a while: not for a
    /// thread that serves clients.
    ///
    /// # Errors
    /// Kafka's codes, of which the client makes what KIP-714 says.
    pub fn push(
        &self,
        image: &Image,
        id: Uuid,
        client: &Client,
        (subscription_id, is_terminating): (i32, bool),
        codec: Option<Codec>,
        bytes: &[u8],
    ) -> Result<(), ErrorCode> {
        let now_ms = self.now_ms();
        let has_known_codec = codec.is_some();
        let push =
            Push { subscription_id, is_terminating, has_known_codec, is_too_large: bytes.len() > self.max_bytes };
        {
            let mut state = self.state();
            state.prepare(image, id, now_ms);
            let admitted = state.instances.push(id, client, push, now_ms);
            state.count(admitted.as_ref().err());
            admitted?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = self.take(id, client, codec.unwrap_or_default(), bytes);
        let mut state = self.state();
        match taken {
            Ok(()) => state.pushes += 1,
            Err(error) => {
                state.failed += 1;
                state.instances.failed(id, error);
            }
        }
        taken
    }

    fn take(&self, id: Uuid, client: &Client, codec: Codec, bytes: &[u8]) -> Result<(), ErrorCode> {
        let message = records::decompress(codec, bytes, self.max_bytes).map_err(|error| {
            debug!(client = %client.instance_id, %error, "a client's metrics cannot be decompressed");
            match error {
                BatchError::TooLarge { .. } => ErrorCode::TelemetryTooLarge,
                _ => ErrorCode::InvalidRecord,
            }
        })?;
        let mut points = Vec::new();
        let rest = otlp::read(&message, &mut |point| points.push(point)).map_err(|error| {
            debug!(client = %client.instance_id, %error, "a client's metrics cannot be read");
            ErrorCode::InvalidRecord
        })?;
        let now_ms = self.now_ms();
        let mut kept = self.series();
        if now_ms - kept.swept_ms >= SWEEP_MS {
            self.sweep(&mut kept, now_ms);
        }
        kept.series.dropped += rest.unread as u64;
        kept.series.take(id, client, &rest.resource, points);
        Ok(())
    }

    /// Forgets what clients pushed that are known no more.
    fn sweep(&self, kept: &mut Kept, now_ms: i64) {
        kept.swept_ms = now_ms;
        let mut state = self.state();
        state.instances.expire(now_ms);
        kept.series.retain(|id| state.instances.knows(id));
    }

    /// Writes what clients pushed, and how they behave.
    pub fn write(&self, page: &mut Page) {
        let now_ms = self.now_ms();
        let mut kept = self.series();
        self.sweep(&mut kept, now_ms);
        let state = self.state();
        let name = "kafka_server_client_metrics_instance_count";
        page.gauge(name, "Clients that take part in telemetry.", state.instances.len());
        let mut counter =
            |name: &str, help: &str, value: u64| page.family(name, Kind::Counter, help).sample(&[], value);
        let name = "kafka_server_client_metrics_unknown_subscription_request_total";
        counter(name, "Pushes for subscriptions that are no more.", state.unknown);
        counter(
            "kafka_server_client_metrics_throttle_total",
            "Requests that came before they should.",
            state.throttled,
        );
        counter("kafka_server_client_metrics_plugin_export_total", "Pushes that were taken.", state.pushes);
        counter("kafka_server_client_metrics_plugin_error_total", "Pushes that cannot be read.", state.failed);
        drop(state);
        let help = "Values that clients pushed and that have no room or no place on this page.";
        counter("klamm_client_telemetry_dropped_total", help, kept.series.dropped);
        kept.series.write(page);
    }
}

impl State {
    /// Brings the subscriptions in line with the cluster's state, and makes room for a client.
    fn prepare(&mut self, image: &Image, id: Uuid, now_ms: i64) {
        // Requests may see states in another order than that in which they were published.
        if self.offset.is_none_or(|offset| offset < image.offset) {
            self.offset = Some(image.offset);
            self.follow(image);
        }
        self.instances.make_room(id, now_ms);
    }

    fn follow(&mut self, image: &Image) {
        let of_clients = image.configs.iter().filter(|(resource, _)| resource.kind == ResourceKind::ClientMetrics);
        let settings: Vec<Subscribed> =
            of_clients.map(|(resource, settings)| (resource.name.clone(), settings.clone())).collect();
        if settings == self.settings {
            return;
        }
        let understood = settings.iter().filter_map(|(name, settings)| match Subscription::new(&**settings) {
            Ok(subscription) => Some(subscription),
            Err(error) => {
                warn!(subscription = %name, %error, "a client metrics subscription is for nobody");
                None
            }
        });
        self.instances.subscribe(understood.collect());
        self.settings = settings;
    }

    fn count(&mut self, error: Option<&ErrorCode>) {
        match error {
            Some(ErrorCode::ThrottlingQuotaExceeded) => self.throttled += 1,
            Some(ErrorCode::UnknownSubscriptionId) => self.unknown += 1,
            _ => {}
        }
    }
}
