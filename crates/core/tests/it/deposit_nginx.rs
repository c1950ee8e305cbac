//! Deposits from nginx: plain, redirecting, cut off, slow, and with a password that does not fit.

use std::time::Duration;

use dipper_core::db::deposits::DepositView;
use dipper_core::order::OrderState;
use dipper_core::secret::Secret;
use dipper_core::settings::{DepositSettings, Settings};

use super::bench::{Bench, CONTRACT};
use super::deposit::{command, depositor, registration};
use super::nginx::Nginx;

async fn bench() -> (Bench, Nginx) {
    let deposit = DepositSettings { backoff: Duration::from_millis(1), ..DepositSettings::default() };
    let settings = Settings { egress_allow: vec!["127.0.0.1".to_owned()], deposit, ..Settings::default() };
    (Bench::with(settings).await, Nginx::start().await)
}

/// Deposits files that the gateway has at a place, and works; the deposit as it is then.
async fn deposited(bench: &Bench, nginx: &Nginx, place: &str, filegroup: &str, files: &[(&str, &[u8])]) -> DepositView {
    let caller = depositor(CONTRACT);
    bench.intake.gateway_register(&caller, CONTRACT, registration(&nginx.url(place))).await.unwrap();
    for (path, bytes) in files {
        nginx.has(&format!("{filegroup}/{path}"), bytes);
    }
    bench.intake.deposit(&caller, command(filegroup, "1", files)).await.unwrap();
    bench.work().await;
    bench.intake.deposit_view(&caller, CONTRACT, filegroup).await.unwrap()
}

fn is_stored(view: &DepositView) {
    assert_eq!(view.order.state, OrderState::Stored, "{:?}", view.order.failure);
}

/// Bytes that differ everywhere.
fn large(len: usize) -> Vec<u8> {
    (0..len).map(|number| (number % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_nginx_as_it_is() {
    let (bench, nginx) = bench().await;
    let files: [(&str, &[u8]); 3] = [("a", b"alpha"), ("sub dir/b#1%.txt", b"beta"), ("empty", b"")];
    is_stored(&deposited(&bench, &nginx, "files", "plain å", &files).await);
    is_stored(&deposited(&bench, &nginx, "moved", "moved", &files).await);
    assert_eq!(nginx.log("home", "302", 3).await.len(), 3);
    is_stored(&deposited(&bench, &nginx, "elsewhere", "else", &files).await);
    let elsewhere = nginx.log("elsewhere", "", 3).await;
    assert_eq!(elsewhere.len(), 3);
    assert!(elsewhere.iter().all(|line| line.ends_with("authorization=-")), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_nginx_that_is_cut_is_gone_on_with() {
    let (bench, nginx) = bench().await;
    let large = large(3 << 20);
    // The first answer is 412, because nginx has tags of its own.
    nginx.cut_after(1 << 20);
    is_stored(&deposited(&bench, &nginx, "files", "fg", &[("large", &large)]).await);
    let resumed = nginx.log("home", "206", 1).await;
    assert!(resumed.len() == 1 && resumed[0].contains("range=bytes="), "{resumed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_may_be_slow_as_long_as_it_comes_on() {
    let (bench, nginx) = bench().await;
    let large = large(250_000);
    is_stored(&deposited(&bench, &nginx, "slow", "fg", &[("large", &large)]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told() {
    let (bench, nginx) = bench().await;
    let caller = depositor(CONTRACT);
    let mut wrong = registration(&nginx.url("files"));
    wrong.password = Secret::new("sardine".to_owned());
    bench.intake.gateway_register(&caller, CONTRACT, wrong).await.unwrap();
    bench.intake.deposit(&caller, command("fg", "1", &[("a", b"alpha")])).await.unwrap();
    bench.work().await;
    let failed = bench.intake.deposit_view(&caller, CONTRACT, "fg").await.unwrap();
    let message = failed.order.failure.unwrap().message;
    assert!(message.contains("does not let Dipper in") && message.contains("401"), "{message}");
}
