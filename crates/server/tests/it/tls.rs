//! TLS as other people's programs see it, and what is answered without it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dipper_archive::publish;
use dipper_core::Role;
use reqwest::redirect::Policy;
use rustix::process::Signal;
use serde_json::Value;

use crate::authority::{Authority, s_client};
use crate::cli_support::{Dipper, Running, wait_until};
use crate::peers;
use crate::support::{PATIENCE, Server, address_of_a_neighbour, answer, code, header};

/// The real program with a certificate of its own, and its log in a file.
struct Secured {
    authority: Authority,
    dipper: Dipper,
    running: Running,
    addr: String,
}

impl Secured {
    fn start(environment: &[(&str, &str)]) -> Secured {
        let authority = Authority::new();
        let [(_, certificate), (_, key)] = authority.settings(100);
        let dipper = Dipper::new();
        let mut command = dipper.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("DIPPER_TLS_CERTIFICATE", certificate).env("DIPPER_TLS_KEY", key);
        command.envs(environment.iter().copied());
        let log = std::fs::File::create(dipper.path("log")).expect("a file");
        let mut running = Running::start_telling(command, Stdio::from(log));
        let line = running.line();
        let addr = line.trim().strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Secured { authority, dipper, running, addr }
    }

    fn s_client(&self, arguments: &[&str]) -> (bool, String) {
        s_client(&self.addr, &self.authority.root(), arguments)
    }

    /// The serial number of the certificate that is shown.
    fn serial(&self) -> u32 {
        let (done, told) = self.s_client(&["-showcerts"]);
        assert!(done, "{told}");
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-serial"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("openssl runs");
        child.stdin.take().expect("piped").write_all(told.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8(output.stdout).expect("text");
        let serial = text.trim().strip_prefix("serial=").unwrap_or_else(|| panic!("{text:?}"));
        u32::from_str_radix(serial, 16).expect("a number")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dipper.path("log")).expect("a log")
    }

    fn replace(&self, name: &str, content: &[u8]) {
        publish::write_file(&self.authority.path(name), content).expect("written");
    }

    /// `curl` over https; the head and the body of what came.
    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let port = self.addr.rsplit(':').next().expect("a port");
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--include", "--noproxy", "*", "--cacert"])
            .arg(self.authority.root());
        let output = command.args(arguments).arg(format!("https://localhost:{port}{path}")).output();
        let output = output.expect("curl runs");
        assert!(output.status.success(), "{}", peers::told(&output));
        String::from_utf8(output.stdout).expect("text")
    }
}

#[test]
fn versions_chain_and_protocols() {
    let mut secured = Secured::start(&[]);
    for (version, good) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false), ("-tls1", false)] {
        // The client by itself would not even ask for the old ones.
        let arguments = [version, "-cipher", "DEFAULT:@SECLEVEL=0", "-showcerts"];
        let (done, told) = secured.s_client(&arguments);
        assert_eq!(done, good, "{version}: {told}");
        if good {
            assert_eq!(told.matches("BEGIN CERTIFICATE").count(), 2, "the chain is sent whole: {told}");
            assert!(told.contains("Verification: OK"), "{told}");
        } else {
            assert!(told.contains("SSL alert number"), "it is the server that refuses: {told}");
        }
    }
    for (offered, chosen) in [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")] {
        let (done, told) = secured.s_client(&["-alpn", offered]);
        assert!(done && told.contains(&format!("ALPN protocol: {chosen}")), "{told}");
    }
    assert!(!secured.s_client(&["-alpn", "imap"]).0, "nothing else is spoken here");
    for (version, first) in [("--http1.1", "HTTP/1.1 200 OK"), ("--http2", "HTTP/2 200")] {
        let answered = secured.curl(&[version], "/healthz");
        assert!(answered.starts_with(first), "{answered}");
        assert!(answered.to_lowercase().contains("strict-transport-security: max-age=31536000"), "{answered}");
    }
    let url = format!("http://{}/healthz", secured.addr);
    let plain = Command::new("curl").args(["--silent", "--noproxy", "*", &url]).output().expect("curl runs");
    assert!(!plain.status.success() && plain.stdout.is_empty(), "no plain http on this port");
    secured.running.signal(Signal::TERM);
    assert_eq!(secured.running.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_new_certificate_comes_into_use_and_a_broken_one_does_not() {
    let secured = Secured::start(&[]);
    assert_eq!(secured.serial(), 100);
    let mut kept = KeptOpen::connect(&secured);
    kept.ask();

    let (chain, key) = secured.authority.issue(101, "RSA");
    secured.replace("chain.pem", &chain);
    let refusals = |log: &str| log.matches("the one before stays in use").count();
    wait_until("the key is missed", || secured.log().contains("is not the key of the first certificate"));
    assert_eq!(secured.serial(), 100, "half of the change changes nothing");
    secured.replace("chain.key", &key);
    wait_until("the new certificate is shown", || secured.serial() == 101);

    for broken in [&b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"[..], b"", &chain[..200]] {
        let before = refusals(&secured.log());
        secured.replace("chain.pem", broken);
        wait_until("the broken file is seen", || refusals(&secured.log()) > before);
        assert_eq!(secured.serial(), 101);
    }
    let before = refusals(&secured.log());
    publish::remove_file(&secured.authority.path("chain.key")).expect("removed");
    wait_until("the missing file is seen", || refusals(&secured.log()) > before);
    assert_eq!(secured.serial(), 101);

    let (chain, key) = secured.authority.issue(102, "EC");
    secured.replace("chain.key", &key);
    secured.replace("chain.pem", &chain);
    wait_until("the repaired files are read", || secured.serial() == 102);
    kept.ask();
}

#[test]
fn an_end_that_is_near_is_told_in_the_log_and_by_a_figure() {
    let mut secured = Secured::start(&[("DIPPER_METRICS_LISTEN", "127.0.0.1:0")]);
    let line = secured.running.line();
    let metrics = line.trim().strip_prefix("metrics at ").expect("an address").to_owned();
    let figure = || {
        let curl = Command::new("curl").args(["--silent", "--noproxy", "*", &metrics]).output().expect("curl runs");
        let page = String::from_utf8(curl.stdout).expect("text");
        let line = page.lines().find_map(|line| line.strip_prefix("dipper_certificate_expires_timestamp_seconds "));
        line.expect("the figure").parse::<f64>().expect("a number")
    };
    let ends = |name: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"]).arg(secured.authority.path(name));
        let told = String::from_utf8(openssl.output().expect("openssl runs").stdout).expect("text");
        let date = told.trim().strip_prefix("notAfter=").unwrap_or_else(|| panic!("{told:?}")).replace(' ', "T");
        let date = time::OffsetDateTime::parse(&date, &time::format_description::well_known::Rfc3339);
        date.expect("a date").unix_timestamp() as f64
    };
    assert_eq!(figure(), ends("server-100.pem"));
    let (chain, key) = secured.authority.issue_for(101, "EC", 10);
    assert_ne!(ends("server-100.pem"), ends("server-101.pem"));
    assert!(!secured.log().contains("expires soon"), "thirty days are not soon");
    secured.replace("chain.key", &key);
    secured.replace("chain.pem", &chain);
    wait_until("the log tells of it", || secured.log().contains("the certificate expires soon"));
    assert_eq!(figure(), ends("server-101.pem"));
    let (chain, key) = secured.authority.issue_for(102, "EC", 0);
    secured.replace("chain.key", &key);
    secured.replace("chain.pem", &chain);
    wait_until("the log tells of it", || secured.log().contains("the certificate has expired"));
}

/// A connection that is open all the time.
struct KeptOpen {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl KeptOpen {
    fn connect(secured: &Secured) -> KeptOpen {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &secured.addr, "-CAfile"]).arg(secured.authority.root());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl runs");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        KeptOpen { child, answers }
    }

    fn ask(&mut self) {
        let requests = self.child.stdin.as_mut().expect("piped");
        requests.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the connection is open");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), "HTTP/1.1 200 OK");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            self.answers.read_line(&mut line).expect("a line");
            length =
                line.strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().expect("a number"));
        }
        self.answers.read_exact(&mut vec![0; length]).expect("a body");
    }
}

impl Drop for KeptOpen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn plain_http_is_sent_to_the_same_place() {
    let secured = Secured::start(&[
        ("DIPPER_SERVER_PUBLIC_URL", "https://dipper.example.org"),
        ("DIPPER_TLS_REDIRECT_LISTEN", "127.0.0.1:0"),
        ("DIPPER_LOG_FORMAT", "json"),
    ]);
    let log = secured.log();
    let line = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let port = line.filter_map(|line| line["redirect_port"].as_u64()).next().expect("the log names the port");
    let ask = |arguments: &[&str], target: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--noproxy", "*", "--path-as-is"]).args(arguments);
        let output = command.arg(format!("http://127.0.0.1:{port}{target}")).output().expect("curl runs");
        String::from_utf8(output.stdout).expect("text")
    };
    for target in ["/", "/a/b%20c?urn=urn%3Anbn&x=%26", "/deliveries/../x", "/daweb3/status/index?listallobjects=1"] {
        for arguments in [&[][..], &["-u", "a:b"], &["-d", "{}"], &["--request", "DELETE"]] {
            let answered = ask(arguments, target);
            assert!(answered.starts_with("HTTP/1.1 308 "), "{answered}");
            let location = format!("location: https://dipper.example.org{target}\r\n");
            assert!(answered.contains(&location), "{answered}");
        }
    }
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port.try_into().expect("a port"))).expect("connected");
    let head = b"POST /x HTTP/1.1\r\nHost: y\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(head).expect("written");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut answered = String::new();
    stream.read_to_string(&mut answered).expect("it ends without the body");
    assert!(answered.starts_with("HTTP/1.1 308 "), "{answered}");
}

#[test]
fn a_handshake_that_does_not_come_holds_up_nobody() {
    let secured =
        Secured::start(&[("DIPPER_SERVER_REQUEST_TIMEOUT_SECONDS", "2"), ("DIPPER_SERVER_MAX_CONNECTIONS", "9")]);
    let silent: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(&secured.addr).expect("connected")).collect();
    let began = Instant::now();
    secured.curl(&[], "/healthz");
    assert!(began.elapsed() < Duration::from_secs(2), "nobody waits for the silent ones");
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let _ = stream.read_to_end(&mut Vec::new()).expect("the server ends the connection");
    }
    secured.curl(&[], "/healthz");
}

#[test]
fn the_check_of_the_settings_names_the_file_at_fault() {
    let dipper = Dipper::with_client();
    let authority = Authority::new();
    let (chain, key) = authority.issue(7, "EC");
    let (_, other) = authority.issue(8, "EC");
    let path = |name: &str, content: &[u8]| dipper.write(name, content).display().to_string();
    let (chain, key, other) = (path("chain.pem", &chain), path("key.pem", &key), path("other.pem", &other));
    let (empty, garbage) = (path("empty.pem", b""), path("garbage.pem", b"-----BEGIN CERTIFICATE-----\n%%\n"));
    for (certificate, key, setting, reason) in [
        (&chain, &key, "", ""),
        (&"/nonexistent.pem".to_owned(), &key, "tls.certificate", "cannot be read"),
        (&chain, &"/nonexistent.pem".to_owned(), "tls.key", "cannot be read"),
        (&empty, &key, "tls.certificate", "holds no certificate"),
        (&key, &key, "tls.certificate", "holds no certificate"),
        (&garbage, &key, "tls.certificate", "is not in PEM"),
        (&chain, &chain, "tls.key", "holds no key"),
        (&chain, &other, "tls.key", "is not the key of the first certificate"),
    ] {
        let run = |arguments: &[&str]| {
            let mut command = dipper.command(arguments);
            command.env("DIPPER_TLS_CERTIFICATE", certificate).env("DIPPER_TLS_KEY", key);
            crate::cli_support::run(command)
        };
        let told = run(&["--json", "config", "check"]).json(i32::from(!setting.is_empty()));
        assert_eq!(told["valid"], setting.is_empty(), "{told}");
        if !setting.is_empty() {
            assert_eq!(told["problems"][0]["key"], setting);
            assert!(told["problems"][0]["message"].as_str().expect("text").contains(reason), "{told}");
            let refused = run(&["serve"]);
            assert!(refused.error(1).contains(setting), "{refused:?}");
        }
        // What does not listen needs no certificate.
        assert_eq!(run(&["contract", "list"]).code, 0);
    }
}

/// Asks as another machine would. Who is near and what is secret is tested in full beside the decision itself; here, that
/// it is the listener's word that is decided by. A machine without any network has no such address to ask from.
#[tokio::test]
async fn credentials_in_plain_http_from_elsewhere_are_refused() {
    let Some(ip) = address_of_a_neighbour() else { return };
    for (public_url, insecure) in [("https://dipper.example.org", "false"), ("", "false"), ("", "true")] {
        let settings = [
            ("server.listen", "0.0.0.0:0"),
            ("server.public_url", public_url),
            ("server.insecure_http", insecure),
            ("issuer.url", "https://login.example.org"),
        ];
        let server = Server::start(&settings).await;
        server.client("harvester", &[("2d17", Role::Read)]).await;
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client");
        let far = format!("http://{ip}:{}", server.serving.addr.port());
        let near = format!("http://127.0.0.1:{}", server.serving.addr.port());
        let path = "/dps-submission/v1/archives?limit=1";
        let get = async |url: &str| http.get(format!("{url}{path}")).bearer_auth("x.y.z").send().await.expect("sent");

        assert_eq!(get(&near).await.status(), 401, "loopback is heard");
        let asked = get(&far).await;
        match (insecure, public_url) {
            ("true", _) => assert_eq!(asked.status(), 401),
            (_, "") => {
                let (status, body) = answer(asked).await;
                assert_eq!((status, code(&body)), (403, "HTTPS_REQUIRED"));
                assert!(body["error"]["message"].as_str().expect("text").contains("server.insecure_http"), "{body}");
            }
            _ => {
                assert_eq!(asked.status(), 308);
                assert_eq!(header(&asked, "location"), format!("{public_url}{path}"));
            }
        }
        let order = http.post(format!("{far}/dps-submission/v1/disseminations")).bearer_auth("x.y.z").body("{}");
        let token = http.post(format!("{far}/oauth2/token")).form(&[("grant_type", "client_credentials")]);
        let (open, order, token) = (insecure == "true", order.send().await, token.send().await);
        assert_eq!(order.expect("sent").status(), if open { 401 } else { 403 });
        assert_eq!(token.expect("sent").status(), if open { 404 } else { 403 });
        for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/deliveries/a/0/b?expires=1&signature=x", 403)] {
            let answered = http.get(format!("{far}{path}")).send().await.expect("sent");
            assert_eq!(answered.status(), status, "{path} needs no credentials");
            assert_eq!(header(&answered, "strict-transport-security"), "", "this is no TLS");
        }
    }
}
