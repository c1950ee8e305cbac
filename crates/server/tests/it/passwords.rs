//! Names and secrets: who is signed in, how often a secret is hashed for that, and how guessing is slowed down.

use std::net::{IpAddr, Ipv4Addr};

use dipper_core::Role;
use dipper_core::clients::Clients;
use dipper_core::secret::Secret;
use dipper_server::signin::password::{Passwords, SignInError};
use futures_util::future::join_all;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::support::Server;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

fn passwords(server: &Server) -> Passwords {
    let clients = Clients::new(server.database().clone()).expect("random numbers");
    Passwords::new(clients).expect("random numbers")
}

/// How many secrets were hashed on the thread of the test, which the recorder listens to.
fn hashed(recorder: &PrometheusRecorder) -> u64 {
    let text = recorder.handle().render();
    let line = text.lines().find_map(|line| line.strip_prefix("dipper_sign_in_hashes_total "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

fn guess(number: usize) -> Secret {
    Secret::new(format!("guess {number}"))
}

#[tokio::test]
async fn a_secret_is_hashed_once_and_the_catalogue_asked_each_time() {
    let server = Server::start(&[]).await;
    let administration = server.administration();
    let secret = server.client("poller", &[("2d17", Role::Read)]).await;
    let passwords = passwords(&server);
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let verify = || passwords.verify("poller", secret.clone(), HERE);

    for caller in join_all((0..20).map(|_| verify())).await {
        let caller = caller.expect("signed in");
        assert!(caller.stored && caller.client_id == "poller" && caller.grants.has("2d17", Role::Read));
    }
    assert_eq!(hashed(&recorder), 1, "the first of them hashes, the others wait for it");
    verify().await.expect("signed in");
    assert_eq!(hashed(&recorder), 1);

    administration.client_grant("poller", "2d17", Role::Write).await.expect("granted");
    administration.client_revoke("poller", "2d17", Role::Read).await.expect("revoked");
    let caller = verify().await.expect("signed in");
    assert!(caller.grants.has("2d17", Role::Write) && !caller.grants.has("2d17", Role::Read));
    administration.client_enable("poller", false).await.expect("disabled");
    assert!(matches!(verify().await, Err(SignInError::Wrong)));
    administration.client_enable("poller", true).await.expect("enabled");
    verify().await.expect("signed in");
    assert_eq!(hashed(&recorder), 1, "none of this is a matter of the secret");

    let other = administration.client_secret_replace("poller").await.expect("replaced");
    assert!(matches!(verify().await, Err(SignInError::Wrong)), "the old secret has ended");
    passwords.verify("poller", other, HERE).await.expect("signed in");
    assert_eq!(hashed(&recorder), 3);
}

#[tokio::test]
async fn a_secret_is_of_one_client_alone() {
    let server = Server::start(&[]).await;
    let one = server.client("one", &[]).await;
    let two = server.client("two", &[]).await;
    let passwords = passwords(&server);
    passwords.verify("one", one.clone(), HERE).await.expect("signed in");
    passwords.verify("two", two, HERE).await.expect("signed in");
    for (client_id, secret) in
        [("two", one.clone()), ("nobody", one), ("one", Secret::new(String::new())), ("", guess(1))]
    {
        assert!(matches!(passwords.verify(client_id, secret, THERE).await, Err(SignInError::Wrong)), "{client_id}");
    }
}

#[tokio::test]
async fn guesses_are_slowed_down_also_when_they_come_all_at_once() {
    let server = Server::start(&[]).await;
    let secret = server.client("poller", &[]).await;
    let passwords = passwords(&server);
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);

    let same = join_all((0..10).map(|_| passwords.verify("poller", guess(0), THERE))).await;
    assert!(same.iter().all(|answer| matches!(answer, Err(SignInError::Wrong))));
    // Those that have looked the client up before the first was hashed wait for it.
    assert!((1..5).contains(&hashed(&recorder)), "one mistake that is repeated at a time is few mistakes");
    passwords.verify("poller", secret.clone(), THERE).await.expect("it costs no wait");

    let before = hashed(&recorder);
    let guesses = join_all((0..100).map(|number| passwords.verify("poller", guess(number), HERE))).await;
    let heard = guesses.iter().filter(|answer| matches!(answer, Err(SignInError::Wrong))).count() as u64;
    assert_eq!(hashed(&recorder) - before, heard);
    // Five are free, and as many again are heard as are hashed at a time.
    assert!((5..=7).contains(&heard), "{heard}");
    let rest = guesses.iter().filter(|answer| matches!(answer, Err(SignInError::Wait(_)))).count() as u64;
    assert_eq!(heard + rest, 100);

    assert!(matches!(passwords.verify("poller", secret.clone(), HERE).await, Err(SignInError::Wait(_))));
    passwords.verify("poller", secret, THERE).await.expect("another address does not wait");
    let long = Secret::new("x".repeat(100_000));
    let before = hashed(&recorder);
    assert!(matches!(passwords.verify("another", long, THERE).await, Err(SignInError::Wrong)));
    assert_eq!(hashed(&recorder), before, "what is no secret is not hashed");
}
