//! A depositor's gateway that behaves, or does not: what it does with the next requests for a path, a test says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The credentials that it takes.
pub(crate) const USERNAME: &str = "dipper";
pub(crate) const PASSWORD: &str = "swordfish";

/// What it does instead of giving the file.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// Answers that, with these header lines.
    Status(u16, String),
    /// Gives other bytes.
    Bytes(Vec<u8>),
    /// Announces the whole, gives so many bytes of what was asked for, and hangs up.
    Cut(usize),
    /// Never ends.
    Endless,
    /// So many zeros.
    Zeros(u64),
    /// Says nothing until somebody lets it go on; then it does what comes next.
    Hang(Arc<tokio::sync::Notify>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Path and query.
    pub(crate) target: String,
    /// By lower-case names.
    pub(crate) headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    tricks: HashMap<String, VecDeque<Trick>>,
    requests: Vec<Request>,
    /// What files hold that it does not have: their own names.
    names_itself: bool,
    password: String,
    has_ranges: bool,
    has_own_tags: bool,
    open: usize,
    most_open: usize,
}

/// The gateway. It is gone with this.
pub(crate) struct Gateway {
    address: String,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn new() -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = State { password: PASSWORD.to_owned(), has_ranges: true, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    serve(stream, &state).await;
                });
            }
        });
        Gateway { address, state, task }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("{}/base", self.address)
    }

    /// Has a file, under its path below the gateway.
    pub(crate) fn has(&self, path: &str, bytes: &[u8]) {
        self.state.lock().unwrap().files.insert(format!("/base/{path}"), bytes.to_vec());
    }

    /// Does that at the next request for the path, after what was asked of it before.
    pub(crate) fn will(&self, path: &str, trick: Trick) {
        self.state.lock().unwrap().tricks.entry(format!("/base/{path}")).or_default().push_back(trick);
    }

    /// Takes another password from now on.
    pub(crate) fn takes(&self, password: &str) {
        password.clone_into(&mut self.state.lock().unwrap().password);
    }

    /// Has every file that is asked for: its content is its name.
    pub(crate) fn has_everything(&self) {
        self.state.lock().unwrap().names_itself = true;
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// Serves no ranges, and says so.
    pub(crate) fn has_no_ranges(&self) {
        self.state.lock().unwrap().has_ranges = false;
    }

    /// Has tags of its own, as plain web servers do.
    pub(crate) fn has_own_tags(&self) {
        self.state.lock().unwrap().has_own_tags = true;
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests were open at the same time.
    pub(crate) fn most_open(&self) -> usize {
        self.state.lock().unwrap().most_open
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            state.open += 1;
            state.most_open = state.most_open.max(state.open);
        }
        let goes_on = answer(&mut stream, &request, state).await;
        state.lock().unwrap().open -= 1;
        if goes_on.is_none() {
            break;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Some(Request { target, headers })
}

/// `None` when the connection is to be closed.
async fn answer(stream: &mut BufReader<TcpStream>, request: &Request, state: &Mutex<State>) -> Option<()> {
    use base64::Engine as _;
    let path = request.target.split('?').next().unwrap().to_owned();
    let hanging = {
        let mut state = state.lock().unwrap();
        let tricks = state.tricks.entry(path.clone()).or_default();
        if matches!(tricks.front(), Some(Trick::Hang(_))) { tricks.pop_front() } else { None }
    };
    if let Some(Trick::Hang(go_on)) = hanging {
        go_on.notified().await;
    }
    let (trick, file, password, has_ranges, has_own_tags) = {
        let mut state = state.lock().unwrap();
        let trick = state.tricks.get_mut(&path).and_then(VecDeque::pop_front);
        let name = state.names_itself.then(|| path.rsplit('/').next().unwrap().as_bytes().to_vec());
        let file = state.files.get(&path).cloned().or(name);
        (trick, file, state.password.clone(), state.has_ranges, state.has_own_tags)
    };
    if let Some(Trick::Status(status, headers)) = &trick {
        return write(stream, &format!("{status} Trick"), headers, b"").await;
    }
    let credentials = base64::prelude::BASE64_STANDARD.encode(format!("{USERNAME}:{password}"));
    if request.headers.get("authorization") != Some(&format!("Basic {credentials}")) {
        return write(stream, "401 Unauthorized", "www-authenticate: Basic realm=\"gateway\"\r\n", b"").await;
    }
    let Some(file) = file else {
        return write(stream, "404 Not Found", "", b"").await;
    };
    let tag = format!("\"{}\"", if has_own_tags { "64-1234".to_owned() } else { super::deposit::md5(&file) });
    let has_tag = !matches!(trick, Some(Trick::Zeros(_)));
    if has_tag && request.headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
        return write(stream, "412 Precondition Failed", "", b"").await;
    }
    let ranges = if has_ranges { "bytes" } else { "none" };
    let mut headers = format!("etag: {tag}\r\naccept-ranges: {ranges}\r\n");
    let from = request.headers.get("range").filter(|_| has_ranges);
    let from: usize = from.map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
    let mut status = "200 OK";
    if from > 0 {
        assert_eq!(request.headers.get("if-range"), Some(&tag));
        status = "206 Partial Content";
        headers.push_str(&format!("content-range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len()));
    }
    let body = &file[from..];
    match trick {
        None => write(stream, status, &headers, body).await,
        Some(Trick::Zeros(len)) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let block = vec![0; 1 << 20];
            let mut left = len;
            while left > 0 {
                let count = left.min(block.len() as u64) as usize;
                stream.write_all(&block[..count]).await.ok()?;
                left -= count as u64;
            }
            Some(())
        }
        Some(Trick::Status(..) | Trick::Hang(_)) => None,
        Some(Trick::Bytes(bytes)) => write(stream, status, &headers, &bytes).await,
        Some(Trick::Cut(sent)) => {
            let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body[..sent]).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
        Some(Trick::Endless) => {
            let head = format!("HTTP/1.1 {status}\r\n{headers}transfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let block = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
            loop {
                stream.write_all(block.as_bytes()).await.ok()?;
            }
        }
    }
}

async fn write(stream: &mut BufReader<TcpStream>, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()
}
