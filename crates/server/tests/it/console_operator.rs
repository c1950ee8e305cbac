//! The operators' pages, as a browser without a script uses them: what they show, what they do, that each act is in the
//! audit log, and that nothing of other contracts is shown or steered.

use std::path::PathBuf;

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::audit::AuditKind;
use dipper_core::caller::Caller;
use dipper_core::db::audit::{AuditFilter, list};
use dipper_core::db::gateways::{self, GatewayRecord};
use dipper_core::db::orders::{self, Failure, FailureCode, Order, OrderKind};
use dipper_core::db::steps::Worked;
use dipper_core::deletion::{self, Agent, DeletionCommand, DeletionEntry, DeletionError};
use dipper_core::ingest::{IngestCommand, IngestControl};
use dipper_core::intake::{Intake, OrderRestore};
use dipper_core::link::Links;
use dipper_core::order::OrderState;
use dipper_core::selection::Selection;

use super::console_support::{Browser, Page};
use super::support::Server;

/// Somebody who runs contract 2d17 and may read it.
async fn olga(server: &Server) -> Browser {
    Browser::client(server, "olga", &[("2d17", Role::Operator), ("2d17", Role::Read)]).await
}

/// What operators did, as the audit log tells it: the agent and the details.
async fn acts(server: &Server) -> Vec<String> {
    let filter = AuditFilter { kind: Some(AuditKind::Administration), ..AuditFilter::default() };
    let found = list(server.database(), &filter, None, 100).await.expect("read");
    assert!(found.iter().all(|chained| chained.entry.agent == "client olga"), "{found:?}");
    found.into_iter().map(|chained| chained.entry.detail).collect()
}

/// Stores a package of contract 2d17; its identifier.
async fn ingest(server: &Server, object_id: &str, files: &[(&str, &[u8])]) -> String {
    let source = server.place.directory.path().join(format!("source-{object_id}"));
    for (path, bytes) in files {
        std::fs::create_dir_all(&source).expect("made");
        std::fs::write(source.join(path), bytes).expect("written");
    }
    let command = IngestCommand {
        path: source,
        contract_id: "2d17".to_owned(),
        object_id: object_id.to_owned(),
        ..IngestCommand::default()
    };
    let ingested = dipper_core::ingest::ingest(&server.installation, command, IngestControl::default()).await;
    ingested.expect("ingested").package_id
}

fn files_below(directory: PathBuf) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![directory]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

/// The one content file of the archive with these bytes.
fn content(server: &Server, bytes: &[u8]) -> PathBuf {
    let files = files_below(server.place.directory.path().join("data/archive"));
    files.into_iter().find(|path| std::fs::read(path).is_ok_and(|found| found == bytes)).expect("a file")
}

/// Has somebody ask for the deletion of package p1.
async fn deletion(server: &Server, name: &str) -> Result<Order, DeletionError> {
    let command = DeletionCommand {
        contract_id: "2d17".to_owned(),
        dialect: deletion::OPERATOR,
        checksum: Algorithm::Md5,
        reason: Some("asked for by its owner".to_owned()),
        entries: vec![DeletionEntry { filegroup: "p1".to_owned(), ..DeletionEntry::default() }],
        request: None,
    };
    deletion::request::request(&server.installation, &Agent::client(name, false), command).await
}

/// What stands in the first address of a page between these two.
fn between(page: &Page, begin: &str, end: &str) -> String {
    let found = page.text.split(begin).nth(1).and_then(|rest| rest.split_once(end));
    found.unwrap_or_else(|| panic!("no {begin} in {}", page.text)).0.to_owned()
}

#[track_caller]
fn went(page: &Page, path: &str) {
    assert_eq!((page.status, page.location()), (303, format!("/console{path}").as_str()), "{}", page.text);
}

#[tokio::test]
async fn the_page_of_the_work_says_whether_it_is_stuck_and_orders_are_steered_from_it() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    olga.get("/operations").await.shows("There is nothing to do.").shows("Operations");
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let archive_id = ingest(&server, "p1", &[("a.txt", b"the content")]).await;
    let id = reader.order(&archive_id).await;
    let page = olga.get("/operations").await;
    page.shows("No process works, although one step is").shows(&id).shows("p1").shows("take in");

    went(&olga.post(&format!("/operations/{id}/priority"), &[("priority", "77")]).await, "/operations");
    olga.get("/operations").await.shows("The urgency was changed").shows("value=\"77\"");
    assert_eq!(olga.post(&format!("/operations/{id}/priority"), &[("priority", "101")]).await.status, 400);
    went(&olga.post(&format!("/operations/{id}/retry"), &[]).await, "/operations");
    olga.get("/operations").await.shows("Not done:").shows("it neither failed nor was rejected");
    went(&olga.post(&format!("/operations/{id}/cancel"), &[]).await, "/operations");
    olga.get("/operations").await.shows("Withdrawn:").shows("There is nothing to do.");

    // One that fails is ordered again, once its package was repaired and read.
    let id = reader.order(&archive_id).await;
    let file = content(&server, b"the content");
    std::fs::write(&file, b"the contend").expect("written");
    while !orders::get(server.database(), &id).await.expect("read").expect("there").state.is_finished() {
        server.work_twice().await;
    }
    let page = olga.get("/operations").await;
    page.shows("One package is damaged").shows("One order has failed").shows("Order again");
    olga.get("/fixity").await.shows("p1").shows("damaged").shows("Read it now").shows("<rect class=\"bar bad\"");
    let damaged = "ist beschädigt: Die Prüfsumme müsste";
    olga.german("/fixity").await.shows(damaged);
    olga.german("/operations").await.shows("wurde nicht ausgeliefert").shows(damaged);
    olga.german(&format!("/orders/{id}")).await.shows("Bestellung gescheitert").shows(damaged);
    olga.german(&format!("/packages/{archive_id}")).await.shows("Version 1 unter").shows(damaged);
    std::fs::write(&file, b"the content").expect("written");
    went(&olga.post(&format!("/fixity/{archive_id}/verify"), &[]).await, "/fixity");
    olga.get("/fixity").await.shows("It is read before all others.");
    let scrubber = dipper_core::scrub::Scrubber::new(server.installation.clone());
    scrubber.turn(&tokio_util::sync::CancellationToken::new()).await.expect("read");
    olga.get("/fixity").await.shows("Everything that was read is right.");
    went(&olga.post(&format!("/operations/{id}/retry"), &[]).await, "/operations");
    olga.get("/operations").await.shows("Ordered again:");
    server.work().await;
    let again = reader.get("/disseminations").await.1;
    let again = again["disseminations"][0]["disseminationId"].as_str().expect("an id").to_owned();
    assert_eq!(
        orders::get(server.database(), &again).await.expect("read").expect("there").state,
        OrderState::Delivered
    );

    olga.get("/console/deliveries").await.shows(&again).shows("Take back");
    went(&olga.post(&format!("/operations/{again}/cancel"), &[("from", "deliveries")]).await, "/deliveries");
    olga.get("/console/deliveries").await.shows("Nothing is kept.");
    olga.get("/processes").await.shows("server");
    let acts = acts(&server).await;
    assert_eq!(acts.len(), 5, "{acts:?}");
    assert!(acts[0].contains("was 50 and is 77") && acts[3].contains("was repeated as order"), "{acts:?}");
    let page = olga.german("/audit").await;
    page.shows("hatte die Dringlichkeit 50 und hat jetzt 77").shows("wurde zurückgezogen; er stand auf:");
    page.shows("planmäßig neu gelesen").shows("wurde wieder für richtig befunden").shows("wurde zurückgenommen");
    page.shows("Client olga").shows(damaged);
    olga.german(&format!("/packages/{archive_id}")).await.shows("Prüfung verlangt").shows("Lieferung zurückgenommen");
}

#[tokio::test]
async fn who_runs_another_contract_sees_and_steers_nothing_of_it() {
    let server = Server::start(&[]).await;
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let archive_id = ingest(&server, "p1", &[("a.txt", b"the content")]).await;
    let id = reader.order(&archive_id).await;
    let mut bert = Browser::client(&server, "bert", &[("other", Role::Operator)]).await;
    for path in [
        "/operations",
        "/processes",
        "/fixity",
        "/console/deliveries",
        "/deletions",
        "/contracts",
        "/clients",
        "/audit",
    ] {
        let page = bert.get(path).await;
        assert!(page.status == 200 && !page.text.contains("2d17") && !page.text.contains(&id), "{path} {}", page.text);
    }
    assert_eq!(bert.get("/clients/reader").await.status, 404);
    let acts: [(&str, &[(&str, &str)]); 12] = [
        (&format!("/operations/{id}/retry"), &[]),
        (&format!("/operations/{id}/cancel"), &[]),
        (&format!("/operations/{id}/priority"), &[("priority", "9")]),
        (&format!("/fixity/{archive_id}/verify"), &[]),
        ("/contracts/2d17/quota", &[("gigabytes", "1")]),
        ("/contracts/2d17/correspondence", &[("language", "nb")]),
        ("/clients/reader/enable", &[("enabled", "false")]),
        ("/clients/reader/secret", &[]),
        ("/clients/reader/grants", &[("contract", "other"), ("role", "read")]),
        ("/clients/bert/grants", &[("contract", "2d17"), ("role", "read")]),
        ("/clients", &[("client", "new"), ("contract", "2d17"), ("role", "read")]),
        ("/clients/reader/webhooks", &[("url", "https://example.org/")]),
    ];
    for (path, fields) in acts {
        assert_eq!(bert.post(path, fields).await.status, 404, "{path}");
    }
    let hold = bert.post("/holds", &[("contract", "2d17"), ("reason", "none")]).await;
    assert_eq!(hold.status, 403);
    assert_eq!(acts_of_all(&server).await, 0);
}

async fn acts_of_all(server: &Server) -> usize {
    let filter = AuditFilter { kind: Some(AuditKind::Administration), ..AuditFilter::default() };
    list(server.database(), &filter, None, 100).await.expect("read").len()
}

#[tokio::test]
async fn clients_are_added_and_changed_and_each_secret_is_shown_once() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    olga.get("/clients").await.shows("olga");
    let page = olga.post("/clients", &[("client", "anna"), ("contract", "2d17"), ("role", "read")]).await;
    page.shows("It is shown this once");
    let secret =
        page.text.split("<code class=\"secret\">").nth(1).and_then(|rest| rest.split('<').next()).expect("one");
    assert!(!olga.get("/clients").await.text.contains(secret));
    let mut anna = Browser::new(&server);
    let signed_in = anna.sign_in("anna", &dipper_core::secret::Secret::new(secret.to_owned())).await;
    assert_eq!(signed_in.status, 303);
    went(&olga.post("/clients", &[("client", "a/b"), ("contract", "2d17"), ("role", "read")]).await, "/clients");
    olga.get("/clients").await.shows("Not done:");

    went(&olga.post("/clients/anna/grants", &[("contract", "2d17"), ("role", "write")]).await, "/clients/anna");
    olga.get("/clients/anna").await.shows("deposit and delete packages");
    went(&olga.post("/clients/anna/revoke", &[("contract", "2d17"), ("role", "write")]).await, "/clients");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl anna@home";
    went(&olga.post("/clients/anna/keys", &[("key", key)]).await, "/clients/anna");
    let page = olga.get("/clients/anna").await;
    page.shows("SHA256:").shows("anna@home");
    let fingerprint = page.text.split("name=\"fingerprint\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let fingerprint = fingerprint.expect("one").to_owned();
    went(&olga.post("/clients/anna/keys/remove", &[("fingerprint", &fingerprint)]).await, "/clients/anna");
    olga.get("/clients/anna").await.shows("The client has no key.");
    went(&olga.post("/clients/anna/keys", &[("key", "no key")]).await, "/clients/anna");
    olga.get("/clients/anna").await.shows("not a public key");

    let page = olga.post("/clients/anna/webhooks", &[("url", "https://127.0.0.1:9/hook")]).await;
    page.shows("whsec_").shows("It is shown this once");
    let page = olga.get("/clients/anna").await;
    assert!(!page.text.contains("whsec_"));
    let webhook =
        page.text.split("/clients/anna/webhooks/").nth(1).and_then(|rest| rest.split('/').next()).expect("one");
    let webhook = format!("/clients/anna/webhooks/{webhook}");
    olga.post(&format!("{webhook}/secret"), &[]).await.shows("whsec_");
    went(&olga.post(&format!("{webhook}/enable"), &[("enabled", "false")]).await, "/clients/anna");
    olga.get("/clients/anna").await.shows("disabled: disabled by the operator");
    olga.german("/clients/anna").await.shows("gesperrt: vom Betreiber abgeschaltet");
    assert_eq!(olga.post(&format!("{webhook}/replay"), &[("notice", "msg_none")]).await.status, 404);
    went(&olga.post(&format!("{webhook}/remove"), &[]).await, "/clients/anna");

    olga.post("/clients/anna/secret", &[]).await.shows("It is shown this once");
    went(&olga.post("/clients/anna/enable", &[("enabled", "false")]).await, "/clients/anna");
    assert_eq!(anna.get("/sessions").await.status, 303, "whoever is disabled is signed out");
    went(&olga.post("/contracts/2d17/quota", &[("gigabytes", "5")]).await, "/contracts");
    olga.get("/contracts").await.shows("Saved: 2d17").shows("5.0\u{a0}GB");
    went(
        &olga.post("/contracts/2d17/correspondence", &[("address", "a@example.org"), ("language", "nb")]).await,
        "/contracts",
    );
    olga.get("/contracts").await.shows("a@example.org");
    let acts = acts(&server).await;
    assert_eq!(acts.len(), 13, "{acts:#?}");
    assert!(acts.iter().all(|act| !act.contains(secret)), "{acts:?}");
    let page = olga.german("/audit").await;
    page.shows("Client anna wurde hinzugefügt; Rollen: Pakete sehen und bestellen (2d17)");
    page.shows("Client anna bekam die Rolle „Pakete abliefern und löschen“").shows("bekam den Schlüssel SHA256:");
    page.shows("von Client anna wurde hinzugefügt: https://127.0.0.1:9/hook").shows("darf sich nicht mehr anmelden");
    page.shows("die Quote des Bereichs ist 5.000.000.000 Bytes").shows("a@example.org; Sprache: Norwegisch");
}

#[tokio::test]
async fn the_audit_log_is_searched_exported_and_verified() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    ingest(&server, "p1", &[("a.txt", b"alpha")]).await;
    ingest(&server, "p2", &[("a.txt", b"beta")]).await;
    olga.get("/contracts").await.shows("as for all");
    went(&olga.post("/contracts/2d17/quota", &[("gigabytes", "")]).await, "/contracts");
    let page = olga.get("/audit").await;
    page.shows("p1").shows("p2").shows("the quota of the area is");
    let page = olga.get("/audit?contract=2d17&kind=ingest&object=p2").await;
    assert!(page.text.contains(">p2<") && !page.text.contains(">p1<"), "{}", page.text);
    olga.get("/audit?until=2020-01-01").await.shows("There is no entry.");
    for wrong in ["kind=x", "from=yesterday", "after=x"] {
        assert_eq!(olga.get(&format!("/audit?{wrong}")).await.status, 400, "{wrong}");
    }
    let premis = olga.get("/audit/export?format=premis&kind=administration").await;
    assert_eq!(premis.headers["content-type"], "application/xml");
    premis.shows("<eventType>administration</eventType>").shows("</premis>");
    assert!(!premis.text.contains("ingestion"));
    let json = olga.get("/audit/export?format=json").await;
    let json: serde_json::Value = serde_json::from_str(&json.text).expect("JSON");
    assert_eq!(json["entries"].as_array().expect("a list").len(), 3);
    assert_eq!(olga.get("/audit/export?format=x").await.status, 400);
    olga.get("/audit").await;
    olga.post("/audit/verify", &[]).await.shows("The log is as it was written.");
}

#[tokio::test]
async fn deletions_are_approved_by_somebody_else_and_holds_keep_packages() {
    let server = Server::start(&[("deletion.policy", "approval")]).await;
    let mut olga = olga(&server).await;
    let archive_id = ingest(&server, "p1", &[("a.txt", b"alpha")]).await;
    let order = async |name: &str| deletion(&server, name).await;
    let id = order("depositor").await.expect("ordered").id;
    olga.get("/deletions").await.shows(&id).shows("put off").shows("asked for by its owner").shows("Approve");
    went(&olga.post(&format!("/deletions/{id}/withdraw"), &[]).await, "/deletions");
    olga.get("/deletions").await.shows("withdrawn");
    went(&olga.post("/holds", &[("contract", "2d17"), ("object", "p1"), ("reason", "case 7")]).await, "/deletions");
    let page = olga.get("/deletions").await;
    page.shows("The hold is set.").shows("case 7").shows("in force");
    assert!(order("depositor").await.is_err());
    let hold =
        page.text.split("/console/holds/").nth(1).and_then(|rest| rest.split('/').next()).expect("one").to_owned();
    went(&olga.post(&format!("/holds/{hold}/lift"), &[("reason", "closed")]).await, "/deletions");
    olga.get("/deletions").await.shows("lifted");
    let own = order("olga").await.expect("ordered").id;
    went(&olga.post(&format!("/deletions/{own}/approve"), &[]).await, "/deletions");
    olga.get("/deletions").await.shows("Not done:").shows("somebody else must approve it");
    went(&olga.post(&format!("/deletions/{own}/withdraw"), &[]).await, "/deletions");
    let other = order("depositor").await.expect("ordered").id;
    went(&olga.post(&format!("/deletions/{other}/approve"), &[]).await, "/deletions");
    server.work().await;
    olga.get("/deletions").await.shows("deleted").shows("client olga");
    let told = format!("Löschung {other}, verlangt von depositor, genehmigt von Client olga: asked for by its owner");
    let page = olga.german("/audit").await;
    page.shows(&told).shows("wurde genehmigt").shows("des Vertrags 2d17: case 7");
    page.shows("Löschsperre gesetzt:").shows("Löschsperre aufgehoben:");
    let page = olga.german(&format!("/packages/{archive_id}")).await;
    page.shows("Paket gelöscht").shows(&told).shows("Löschung beginnt");
}

#[tokio::test]
async fn a_deletion_that_came_to_no_good_end_is_asked_for_and_approved_again() {
    let server = Server::start(&[("deletion.policy", "approval")]).await;
    let mut olga = olga(&server).await;
    ingest(&server, "p1", &[("a.txt", b"alpha")]).await;
    let id = deletion(&server, "depositor").await.expect("ordered").id;
    olga.get("/deletions").await;
    went(&olga.post(&format!("/deletions/{id}/approve"), &[]).await, "/deletions");
    went(&olga.post("/holds", &[("contract", "2d17"), ("object", "p1"), ("reason", "case 7")]).await, "/deletions");
    server.work().await;
    let page = olga.get("/deletions").await;
    page.shows("rejected").shows("Ask again");
    let hold = between(&page, "/console/holds/", "/");
    olga.get("/operations").await.shows("One order has failed");
    olga.german("/operations").await.shows("Eine Löschsperre bewahrt p1: case 7.");

    // What kept it keeps it again.
    let again = [("from", "deletions")];
    went(&olga.post(&format!("/operations/{id}/retry"), &again).await, "/deletions");
    olga.get("/deletions").await.shows("Not done:").shows("a legal hold keeps it: case 7");
    went(&olga.post(&format!("/holds/{hold}/lift"), &[("reason", "closed")]).await, "/deletions");
    went(&olga.post(&format!("/operations/{id}/retry"), &again).await, "/deletions");
    let page = olga.get("/deletions").await;
    page.shows("Ordered again").shows("put off");
    let second = between(&page, "action=\"/console/deletions/", "/");
    assert_ne!(second, id);
    assert!(!olga.get("/operations").await.text.contains("One order has failed"));
    went(&olga.post(&format!("/operations/{id}/retry"), &again).await, "/deletions");
    olga.get("/deletions").await.shows("of the same filegroup is under way");
    server.work().await;
    assert!(content(&server, b"alpha").exists(), "it waits for the word of somebody");
    went(&olga.post(&format!("/deletions/{second}/approve"), &[]).await, "/deletions");
    server.work().await;
    assert!(
        !files_below(server.place.directory.path().join("data/archive"))
            .iter()
            .any(|path| { std::fs::read(path).is_ok_and(|found| found == b"alpha") })
    );
    went(&olga.post(&format!("/operations/{id}/retry"), &again).await, "/deletions");
    olga.get("/deletions").await.shows("is there any more");
    let told = format!("order {id} was repeated as order {second}");
    assert!(acts(&server).await.contains(&told), "{told}");
    olga.german("/audit").await.shows(&format!("Auftrag {id} wurde als Auftrag {second} wiederholt"));
}

#[tokio::test]
async fn a_failed_order_that_needs_nothing_more_is_told_of_no_longer() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let archive_id = ingest(&server, "p1", &[("a.txt", b"the content")]).await;
    let id = reader.order(&archive_id).await;
    olga.get("/operations").await;
    went(&olga.post(&format!("/operations/{id}/dismiss"), &[]).await, "/operations");
    olga.get("/operations").await.shows("Not done:").shows("it neither failed nor was rejected");
    std::fs::write(content(&server, b"the content"), b"the contend").expect("written");
    while !orders::get(server.database(), &id).await.expect("read").expect("there").state.is_finished() {
        server.work_twice().await;
    }
    let dismiss = format!("/operations/{id}/dismiss");
    olga.get("/operations").await.shows("One order has failed").shows(&dismiss);
    let mut stranger = Browser::client(&server, "stranger", &[("other", Role::Operator)]).await;
    stranger.get("/operations").await;
    assert_eq!(stranger.post(&dismiss, &[]).await.status, 404);
    went(&olga.post(&dismiss, &[]).await, "/operations");
    let page = olga.get("/operations").await;
    page.shows(&id).shows("Order again");
    assert!(!page.text.contains("One order has failed") && !page.text.contains(&dismiss), "{}", page.text);
    went(&olga.post(&dismiss, &[]).await, "/operations");
    olga.get("/operations").await.shows("was seen to already");
    assert_eq!(acts(&server).await, [format!("order {id}, which is failed, needs nothing more")]);
    olga.german("/audit").await.shows(&format!("Auftrag {id} (gescheitert) braucht nichts mehr"));
}

#[tokio::test]
async fn gateways_are_shown_with_how_they_answer_and_without_what_they_are_called_with() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    olga.get("/gateways").await.shows("No contract has a gateway.");
    let reader = server.caller("reader", &[("2d17", Role::Read)]).await;
    let archive_id = ingest(&server, "p1", &[("a.txt", b"alpha")]).await;
    let some = orders::get(server.database(), &reader.order(&archive_id).await).await.expect("read").expect("there");
    let now = some.created;
    let record = GatewayRecord {
        contract_id: "2d17".to_owned(),
        url: "https://name:sesame@gateway.example.org/files/".to_owned(),
        username: "doorman".to_owned(),
        password: b"encrypted".to_vec(),
        created: now,
        updated: now,
    };
    let mut transaction = server.database().begin().await.expect("begun");
    gateways::put(&mut transaction, &record).await.expect("put");
    transaction.commit().await.expect("committed");
    let page = olga.get("/gateways").await;
    page.shows("https://gateway.example.org/files/").shows("not used yet");
    assert!(["sesame", "doorman", "encrypted"].iter().all(|secret| !page.text.contains(secret)), "{}", page.text);

    let deposit = async |id: &str, state: OrderState, failure: Option<Failure>| {
        let order = Order { id: id.to_owned(), kind: OrderKind::Deposit, state: OrderState::Pulling, ..some.clone() };
        let mut transaction = server.database().begin().await.expect("begun");
        orders::insert(&mut transaction, &order).await.expect("inserted");
        let updated = server.installation.clock.now();
        let ended = Order { state, failure, updated, ..order };
        assert!(orders::update(&mut transaction, &ended, OrderState::Pulling).await.expect("updated"));
        transaction.commit().await.expect("committed");
        server.clock.advance(std::time::Duration::from_secs(60));
    };
    deposit("d1", OrderState::Stored, None).await;
    olga.get("/gateways").await.shows(">answers<");
    let failure = Failure { code: FailureCode::Gateway, message: "it answers with 500".to_owned() };
    deposit("d2", OrderState::Failed, Some(failure)).await;
    olga.get("/gateways").await.shows("failed last").shows("it answers with 500");
    deposit("d3", OrderState::Stored, None).await;
    olga.get("/gateways").await.shows(">answers<");
    let mut stranger = Browser::client(&server, "stranger", &[("other", Role::Operator)]).await;
    stranger.get("/gateways").await.shows("No contract has a gateway.");
}

#[tokio::test]
async fn a_restore_has_a_page_that_says_how_far_its_check_is() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    ingest(&server, "p1", &[("a.txt", b"the content")]).await;
    let base = url::Url::parse(&server.url).expect("an address");
    let intake = Intake::new(server.installation.clone(), Links::new(&server.installation.key, base));
    let grants = [("2d17".to_owned(), Role::Read)].into_iter().collect();
    let depositor = Caller { client_id: "depositor".to_owned(), grants, stored: false };
    let selections = vec![Selection { object_id: "p1".to_owned(), version: None, files: None }];
    let command = OrderRestore { selections, request: Vec::new(), dialect: "bridge" };
    let id = intake.restore_order(&depositor, command).await.expect("ordered").restore.id;
    let path = format!("/orders/{id}");
    olga.get("/operations").await.shows(&format!("/console{path}\""));
    olga.get(&path).await.shows("<h1>Restore of p1</h1>").shows("restore received").shows("depositor");

    assert!(server.work_once().await, "it is taken in");
    let lease = server.claimed().await;
    server.noted(&lease, Worked { done_bytes: 5_000_000, all_bytes: 20_000_000 }).await;
    let page = olga.get(&path).await;
    page.shows("<progress max=\"100\" value=\"25.0\"").shows("5.0\u{a0}MB of 20.0\u{a0}MB read");
    let seen = format!("{path}?seen={}", between(&page, "?seen=", "\""));
    assert_eq!(olga.get(&seen).await.status, 204);
    olga.get("/operations").await.shows("value=\"25.0\"");
    server.handed_back(&lease).await;
    server.work().await;
    assert!(!olga.get(&seen).await.text.contains("<progress"), "it has ended");
    olga.german(&path).await.shows("<h1>Rückgabe von p1</h1>").shows("Rückgabe liegt bereit").shows("Client depositor");
    olga.german("/audit").await.shows("aus dem Archiv kann abgeholt werden bis");
    let mut stranger = Browser::client(&server, "stranger", &[("other", Role::Read)]).await;
    assert_eq!(stranger.get(&path).await.status, 404);
}

#[tokio::test]
async fn every_page_is_there_in_every_language() {
    let server = Server::start(&[]).await;
    let mut olga = olga(&server).await;
    ingest(&server, "p1", &[("a.txt", b"alpha")]).await;
    for (languages, title) in [("nb", "Drift"), ("de", "Betrieb"), ("en", "Operations")] {
        olga.languages = languages;
        olga.get("/operations").await.shows(&format!("<h1>{title}</h1>"));
        for path in [
            "/processes",
            "/gateways",
            "/fixity",
            "/console/deliveries",
            "/deletions",
            "/contracts",
            "/clients",
            "/clients/olga",
            "/audit",
        ] {
            let page = olga.get(path).await;
            page.shows("<h1>");
            for key in [
                "operations-",
                "fixity-",
                "clients-",
                "audit-",
                "step-",
                "role-",
                "language-",
                "contracts-",
                "gateways-",
                "frame-",
            ] {
                assert!(!page.text.contains(&format!(">{key}")), "{path} {languages}: {}", page.text);
            }
        }
    }
}
