//! A node that answers as a test says.
#![allow(clippy::unwrap_used, dead_code)] // a helper that fails fails its test; not every test needs all

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::Properties;
use client::admin::Admin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::ApiKey;
use wire::codec::{Encoder, Message};
use wire::header::{parse_request_header, write_response_header};
use wire::messages::ApiVersionsResponse;
use wire::messages::api_versions_response::ApiVersion;

/// Puts the answer's body after its header; has the request's body.
type Answer = dyn Fn(ApiKey, i16, &[u8], &mut Encoder) + Send + Sync;

pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.unwrap() });
}

/// A node that serves `apis` at these versions; everything but ApiVersions is answered by `answer`.
pub async fn node(listener: TcpListener, apis: &'static [(ApiKey, i16)], answer: Arc<Answer>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(serve(socket, apis, answer.clone()));
    }
}

async fn serve(mut socket: TcpStream, apis: &[(ApiKey, i16)], answer: Arc<Answer>) {
    while let Ok(length) = socket.read_u32().await {
        let mut frame = vec![0; length as usize];
        socket.read_exact(&mut frame).await.unwrap();
        let (header, body) = parse_request_header(&frame).unwrap();
        let (key, version) = (ApiKey::try_from(header.key).unwrap(), header.version);
        let mut e = Encoder::new();
        let begun = e.begin_frame();
        write_response_header(&mut e, key, version, header.correlation_id);
        match key {
            ApiKey::ApiVersions => {
                let range = |key: ApiKey, version| ApiVersion {
                    api_key: key as i16,
                    min_version: version,
                    max_version: version,
                    ..ApiVersion::default()
                };
                let own = [(ApiKey::ApiVersions, version)];
                let api_keys = own.iter().chain(apis).map(|(key, version)| range(*key, *version)).collect();
                ApiVersionsResponse { api_keys, ..Default::default() }.encode(&mut e, version).unwrap();
            }
            key => answer(key, version, &frame[body..], &mut e),
        }
        e.end_frame(begun).unwrap();
        socket.write_all(e.bytes()).await.unwrap();
    }
}

pub async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port where nobody listens.
pub async fn deserted() -> u16 {
    listener().await.1
}

pub async fn admin(port: u16) -> Admin {
    let servers = ("bootstrap.servers".to_owned(), format!("127.0.0.1:{port}"));
    Admin::open(&Properties::from([servers])).await.unwrap()
}
