//! The listener against clients that are slow, broken or old.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::Server;

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.serving.addr).await.expect("connected")
}

/// Everything up to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the server ends the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let server = Server::start(&[("server.request_timeout_seconds", "1")]).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-").await.expect("written");
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let server = Server::start(&[("server.request_timeout_seconds", "1")]).await;
    let mut stream = connect(&server).await;
    stream
        .write_all(b"POST /oauth2/token HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\ngrant")
        .await
        .expect("written");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let server = Server::start(&[("server.stall_timeout_seconds", "1")]).await;
    let mut stream = connect(&server).await;
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_chunked_body_is_cut_off_at_the_limit() {
    let server = Server::start(&[("server.max_body_bytes", "2000")]).await;
    let mut stream = connect(&server).await;
    stream
        .write_all(b"POST /oauth2/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        .await
        .expect("written");
    // The server may answer, and close, before all is written.
    for _ in 0..3 {
        let _ = stream.write_all(format!("400\r\n{}\r\n", "a".repeat(1024)).as_bytes()).await;
    }
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 413");
}

#[tokio::test]
async fn http_2_without_tls_is_spoken() {
    let server = Server::start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let answer = client.get(format!("{}/healthz", server.url)).send().await.expect("sent");
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_the_listener() {
    let server = Server::start(&[]).await;
    let mut idle = connect(&server).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let addr = server.serving.addr;
    server.shutdown.cancel();
    server.serving.finished().await.expect("ended");
    rest(&mut idle).await;
    assert!(TcpStream::connect(addr).await.is_err());
}
