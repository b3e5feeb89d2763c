//! Requests to other workers.

use std::time::Duration;

use connect_api::{Error, Result};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::io::Stream;
use super::server::{Full, read};

/// How long another worker has to answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sends a request with a body of JSON; the answer's status and body.
pub async fn send(method: &str, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(u16, String)> {
    match timeout(PATIENCE, attempt(method, url, headers, body)).await {
        Ok(result) => result,
        Err(_) => Err(Error::connect(format!("{url} did not answer in {} s", PATIENCE.as_secs()))),
    }
}

async fn attempt(method: &str, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(u16, String)> {
    let failed = |e: hyper::Error| Error::connect(format!("{url} cannot be reached: {e}"));
    let uri: Uri = url.parse().map_err(|e| Error::connect(format!("{url} is no address: {e}")))?;
    let host = uri.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(Stream(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, uri.authority().map_or("", |a| a.as_str()))
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full(Some(Bytes::from(body)))).map_err(|e| Error::connect(format!("{url}: {e}")))?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = read(answer.into_body()).await.map_err(|_| Error::connect(format!("{url} answered too much")))?;
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
