//! Fetching over connections that break, lie and stall. Between the program and its server stands a proxy that does
//! with each download what the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::cli_support::{Dipper, Ran, Running, names, noise, run, wait_until};

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug)]
enum Trick {
    /// Passes everything on.
    Pass,
    /// Closes after so many bytes of the answer.
    Cut(usize),
    /// Passes so many bytes of the answer on, and then nothing.
    Stall(usize),
    /// Changes the byte at that place of the answer.
    Flip(usize),
    /// Answers by itself.
    Say(&'static str),
}

/// A proxy; the requests that it was sent are kept.
struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<Option<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(tricks: &[Trick]) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (server, requests) = (Arc::new(Mutex::new(None::<String>)), Arc::new(Mutex::new(Vec::new())));
        let (tricks, upstream, kept) = (tricks.to_vec(), server.clone(), requests.clone());
        std::thread::spawn(move || {
            let tricks = tricks.into_iter().chain(std::iter::repeat(Trick::Pass));
            for (stream, trick) in listener.incoming().zip(tricks) {
                let (upstream, kept) = (upstream.lock().expect("whole").clone().expect("a server"), kept.clone());
                // A connection that its client gave up is no matter of the test.
                std::thread::spawn(move || stream.and_then(|stream| pass(stream, &upstream, trick, &kept)));
            }
        });
        Proxy { address, server, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("whole").clone()
    }
}

/// One request and its answer; connections are not used twice.
fn pass(mut client: TcpStream, server: &str, trick: Trick, kept: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte)? == 1 {
        head.extend(byte);
    }
    kept.lock().expect("whole").push(String::from_utf8_lossy(&head).to_lowercase());
    if let Trick::Say(answer) = trick {
        return client
            .write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
    }
    let mut upstream = TcpStream::connect(server.trim_start_matches("http://"))?;
    let head = String::from_utf8_lossy(&head).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    upstream.write_all(head.as_bytes())?;
    let (mut sent, mut buffer) = (0, vec![0; 16_384]);
    loop {
        let read = upstream.read(&mut buffer)?;
        let mut piece = buffer[..read].to_vec();
        if let Trick::Flip(place) = trick
            && (sent..sent + read).contains(&place)
        {
            piece[place - sent] ^= 1;
        }
        let most = match trick {
            Trick::Cut(most) | Trick::Stall(most) => most.saturating_sub(sent),
            _ => usize::MAX,
        };
        client.write_all(&piece[..read.min(most)])?;
        sent += read;
        if read == 0 || read >= most {
            break;
        }
    }
    if matches!(trick, Trick::Stall(_)) {
        // Until the client has gone.
        let _ = client.read(&mut byte);
    }
    client.shutdown(Shutdown::Both)
}

/// A delivered package of about 3 MB behind a proxy.
struct Scene {
    dipper: Dipper,
    _server: Running,
    url: String,
    proxy: Proxy,
    id: String,
}

impl Scene {
    fn new(tricks: &[Trick]) -> Scene {
        let dipper = Dipper::with_client();
        let archive_id = dipper.ingest("foto", &noise(3_000_000));
        let proxy = Proxy::start(tricks);
        let public_url = format!("http://{}", proxy.address);
        let (server, url) = dipper.serve(&[("DIPPER_SERVER_PUBLIC_URL", &public_url)]);
        *proxy.server.lock().expect("whole") = Some(url.clone());
        let ordered = run(dipper.client(&url, &["order", &archive_id, "--wait", "--json"])).json(0);
        let id = ordered["disseminationId"].as_str().expect("an identifier").to_owned();
        Scene { dipper, _server: server, url, proxy, id }
    }

    fn fetch(&self) -> Ran {
        run(self.dipper.client(&self.url, &["fetch", &self.id, "--json", "--output", "out/"]))
    }

    /// The file that a fetch which ended well has made, with nothing left beside it.
    fn fetched(&self) -> Value {
        let fetched = self.fetch().json(0);
        assert_eq!(names(&self.dipper.path("out")), ["foto.tar"]);
        let file = fetched["files"][0].clone();
        assert_eq!(file["bytes"], json!(std::fs::metadata(self.dipper.path("out/foto.tar")).expect("a file").len()));
        file
    }
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let scene = Scene::new(&[Trick::Cut(1_000_000), Trick::Say("503 Busy"), Trick::Cut(700_000)]);
    let file = scene.fetched();
    assert_eq!(file["resumedFrom"], 0);
    let requests = scene.proxy.requests();
    assert_eq!(requests.len(), 4);
    assert!(!requests[0].contains("\r\nrange:"), "{requests:?}");
    for request in &requests[1..] {
        assert!(request.contains("\r\nrange: bytes=") && request.contains("\r\nif-range: \""), "{request}");
    }
}

#[test]
fn an_interrupted_fetch_goes_on_in_the_next_process() {
    let scene = Scene::new(&[Trick::Stall(1_200_000)]);
    let command = scene.dipper.client(&scene.url, &["fetch", &scene.id, "--output", "out/"]);
    let running = Running::start(command);
    let part = scene.dipper.path("out/foto.tar.part");
    wait_until("a part", || std::fs::metadata(&part).is_ok_and(|part| part.len() > 1_000_000));
    let stopped = running.stop(Signal::INT);
    assert!(stopped.error(130).contains("the same command goes on from there"), "{stopped:?}");
    assert!(!scene.dipper.path("out/foto.tar").exists());
    let file = scene.fetched();
    assert!(file["resumedFrom"].as_u64().is_some_and(|from| from > 1_000_000), "{file}");
    assert!(scene.proxy.requests()[1].contains("\r\nif-range: \""));
}

#[test]
fn a_wrong_byte_is_found_and_nothing_is_left() {
    let scene = Scene::new(&[Trick::Flip(2_000_000)]);
    let ran = scene.fetch();
    assert!(ran.error(3).contains("does not match its checksum"), "{ran:?}");
    assert_eq!(names(&scene.dipper.path("out")), [""; 0]);
    scene.fetched();
}

#[test]
fn a_part_that_was_damaged_meanwhile_is_fetched_anew() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.fetched()["resumedFrom"], 0);
    let file = std::fs::read(scene.dipper.path("out/foto.tar")).expect("a file");
    let description = format!(
        "{{\"bytes\":{},\"checksum\":\"{}\",\"etag\":null}}",
        file.len(),
        scene.fetched()["checksum"].as_str().expect("a checksum")
    );
    dipper_archive::publish::remove_file(&scene.dipper.path("out/foto.tar")).expect("removed");
    scene.dipper.write("out/foto.tar.part", &noise(500_000));
    scene.dipper.write("out/foto.tar.part.json", description.as_bytes());
    let again = scene.fetched();
    assert_eq!(again["resumedFrom"], 0);
    assert!(std::fs::read(scene.dipper.path("out/foto.tar")).expect("a file") == file);
    // A part of something else is not even asked about.
    dipper_archive::publish::remove_file(&scene.dipper.path("out/foto.tar")).expect("removed");
    scene.dipper.write("out/foto.tar.part", &noise(500_000));
    scene.fetched();
    let last = scene.proxy.requests().pop().expect("a request");
    assert!(!last.contains("\r\nrange:"), "{last}");
}

#[test]
fn an_expired_link_is_replaced_and_a_refused_one_is_told() {
    let scene = Scene::new(&[Trick::Cut(800_000), Trick::Say("403 Forbidden"), Trick::Pass]);
    scene.fetched();
    let scene = Scene::new(&[Trick::Say("403 Forbidden"), Trick::Say("403 Forbidden")]);
    let ran = scene.fetch();
    assert!(ran.error(5).contains("403"), "{ran:?}");
}

#[test]
fn another_range_than_was_asked_for_makes_no_file() {
    let scene = Scene::new(&[Trick::Cut(800_000), Trick::Say("206 Partial Content\r\nContent-Range: bytes 0-9/10")]);
    let ran = scene.fetch();
    assert!(ran.error(3).contains("bytes 0-9/10"), "{ran:?}");
    assert!(!scene.dipper.path("out/foto.tar").exists());
    scene.fetched();
}
