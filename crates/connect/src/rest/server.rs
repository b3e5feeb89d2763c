//! Connections and bodies, with bounds: so many connections, so long a body, so much time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use connect_api::{Error, Result};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info};

use super::io::Stream;
use super::routes::{self, Reply};
use crate::config::Listener;
use crate::herder::Herder;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// Bytes of a request's body at most. The settings of the largest connectors are some hundred KiB.
const BODY_BYTES: usize = 8 * 1024 * 1024;
/// Time for a whole body to come.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Time that a request may take, as Kafka's (which answers 500 then).
const REQUEST_TIME: Duration = Duration::from_secs(90);
/// Pause after accepting failed, which happens when file descriptors run out.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Bound sockets.
pub struct Server {
    listeners: Vec<TcpListener>,
}

/// Binds all listeners; nothing is answered before [`Server::serve`].
pub async fn bind(listeners: &[Listener]) -> Result<Server> {
    let mut bound = Vec::new();
    for listener in listeners {
        let socket = TcpListener::bind(listener.bind_address()).await.map_err(|e| {
            let (host, port) = listener.bind_address();
            Error::connect(format!("Unable to initialize REST server: failed to bind to {host}:{port}")).caused_by(e)
        })?;
        bound.push(socket);
    }
    Ok(Server { listeners: bound })
}

impl Server {
    /// Answers until the returned tasks are aborted.
    pub fn serve(self, herder: &Arc<Herder>) -> Vec<tokio::task::JoinHandle<()>> {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        self.listeners
            .into_iter()
            .map(|listener| {
                if let Ok(address) = listener.local_addr() {
                    info!(target: "org.apache.kafka.connect.runtime.rest.RestServer", "REST server listening at http://{address}/, advertising URL {}", herder.worker.config.advertised_url());
                }
                tokio::spawn(accept(listener, herder.clone(), connections.clone()))
            })
            .collect()
    }
}

async fn accept(listener: TcpListener, herder: Arc<Herder>, connections: Arc<Semaphore>) {
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        let herder = herder.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(herder.clone(), request));
            let served = http1::Builder::new()
                .timer(Timer)
                .header_read_timeout(BODY_TIME)
                .serve_connection(Stream(stream), service);
            if let Err(error) = served.await {
                debug!(%error, "a REST connection ended early");
            }
            drop(permit);
        });
    }
}

/// A request whose body is read.
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

async fn answer(herder: Arc<Herder>, request: Request<Incoming>) -> std::result::Result<Response<Full>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let method = head.method.clone();
    let reply = match timeout(BODY_TIME, read(body)).await {
        Ok(Ok(body)) => {
            let query = head.uri.query().unwrap_or_default().to_owned();
            let asked = Asked { method: head.method, path: path.clone(), query, headers: head.headers, body };
            match timeout(REQUEST_TIME, routes::answer(&herder, asked)).await {
                Ok(reply) => reply,
                Err(_) => {
                    Reply::error(500, "Request timed out. The worker is currently busy with this or another request.")
                }
            }
        }
        Ok(Err(reply)) => reply,
        Err(_) => Reply::error(408, "HTTP 408 Request Timeout"),
    };
    debug!(target: "org.apache.kafka.connect.runtime.rest.RestServer", "{method} {path} {}", reply.status);
    let mut response = Response::new(Full(reply.body.map(Bytes::from)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.body().0.is_some() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if reply.closes {
        response.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Reads a body as it comes, never more than is allowed.
pub(super) async fn read(mut body: Incoming) -> std::result::Result<Bytes, Reply> {
    let too_large = || {
        Reply::error(413, format!("HTTP 413 Request Entity Too Large: at most {BODY_BYTES} bytes are read")).closing()
    };
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|e| Reply::error(400, format!("The body cannot be read: {e}")).closing())?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > BODY_BYTES {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

/// A body that is there as a whole, or none.
pub struct Full(pub Option<Bytes>);

impl Body for Full {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// tokio's clock for hyper.
#[derive(Clone, Copy, Debug)]
struct Timer;

/// A pinned sleep.
struct Sleeping(Pin<Box<tokio::time::Sleep>>);

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleeping(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleeping(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }
}

impl hyper::rt::Sleep for Sleeping {}

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
