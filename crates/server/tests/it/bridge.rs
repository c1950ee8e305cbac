//! The Bridge API in both of its texts: the base, accounts, and what was deposited.

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use serde_json::json;

use super::bridge_support::{BRIDGE, OTM, md5, sum, told};
use super::support::{Server, header};

#[tokio::test]
async fn the_base_tells_what_it_is_to_whoever_signs_in() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let version = env!("CARGO_PKG_VERSION");
    let types = json!(["MD5", "SHA-256", "SHA-512"]);
    let expected = json!({"bridge-version": version, "supported-checksum-types": types});
    assert_eq!(account.get(BRIDGE).await, (200, expected));
    let expected = json!({"bridge-version": version, "checksum-types-supported": types});
    assert_eq!(account.get(&format!("{OTM}/")).await, (200, expected));
    for path in [BRIDGE, "/otm/", "/bridge/list", "/otm/restore/1/a/b", "/bridge/nothing", "/otm/nothing"] {
        let answer = server.get(path).await;
        let asks = header(&answer, "www-authenticate");
        let (status, body) = told(answer).await;
        if path.ends_with("nothing") {
            assert_eq!((status, &body["title"]), (404, &json!("Not Found")), "{path}");
        } else {
            assert_eq!((status, body["status"].as_u64()), (401, Some(401)), "{path}: {body}");
            assert!(asks.starts_with("Basic realm="), "{path}: {asks}");
        }
    }
}

#[tokio::test]
async fn an_operator_adds_accounts_and_gives_them_passwords() {
    let server = Server::start(&[]).await;
    let (operator, other) = (server.operator("ops").await, server.operator("other-ops").await);
    let first = server.account(&operator, "uni").await;
    assert_eq!(first.get("/bridge/list").await, (200, json!([])));
    for (method, path) in [("PUT", "/bridge/account/uni"), ("POST", "/bridge/account/uni"), ("PUT", "/otm/account/uni")]
    {
        let (status, body) = operator.ask(method, path).await;
        assert_eq!((status, &body["account-id"], &body["account-username"]), (201, &json!("uni"), &json!("uni")));
        let password = body["account-password"].as_str().expect("a password");
        assert!(password.len() >= 20 && password != first.password);
        assert_eq!(first.get("/bridge/list").await.0, 401, "the password before");
        let with_new = server.http.get(format!("{}/bridge/list", server.url)).basic_auth("uni", Some(password));
        assert_eq!(with_new.send().await.expect("sent").status(), 200);
    }
    server.account(&operator, "academy").await;
    for path in ["/bridge/account", "/otm/account"] {
        assert_eq!(operator.get(path).await, (200, json!(["academy", "uni"])));
        assert_eq!(other.get(path).await, (200, json!([])), "accounts of another operator");
    }
    // What somebody else has, or what is no account, is taken.
    server.client("archivist", &[("uni", Role::Read)]).await;
    for (who, name) in [(&other, "uni"), (&other, "ops.home"), (&operator, "other-ops"), (&operator, "archivist")] {
        let (status, body) = who.ask("PUT", &format!("/bridge/account/{name}")).await;
        assert_eq!((status, &body["type"]), (409, &json!("urn:dipper:problem:account-taken")), "{name}: {body}");
    }
    for wrong in [".hidden", "a%20b", &"x".repeat(101), "%C3%A6"] {
        assert_eq!(operator.ask("PUT", &format!("/otm/account/{wrong}")).await.0, 422, "{wrong}");
    }
    let account = server.account(&operator, "uni").await;
    for path in ["/bridge/account", "/otm/account"] {
        assert_eq!(account.get(path).await.0, 403);
    }
    assert_eq!(account.ask("PUT", "/bridge/account/uni").await.0, 403);
}

#[tokio::test]
async fn what_was_deposited_is_listed_and_accounts_see_their_own_alone() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let (one, other) = (server.account(&operator, "one").await, server.account(&operator, "other").await);
    let (old, new, shared) = (b"old".as_slice(), b"newer".as_slice(), b"shared".as_slice());
    server.version("one", "fg 1", "v-a", &[("a/b.txt", old), ("c.txt", shared)]).await;
    server.version("one", "fg 1", "v-b", &[("a/b.txt", new), ("c.txt", shared)]).await;
    server.version("other", "fg 1", "v-a", &[("a/b.txt", b"another's")]).await;

    for path in ["/bridge/list", "/otm/list"] {
        assert_eq!(one.get(path).await, (200, json!(["fg 1"])));
    }
    let sha512 = |bytes: &[u8]| sum(Algorithm::Sha512, bytes);
    let listed = |bytes: &[u8]| json!({"size": bytes.len().to_string(), "checksum": sha512(bytes)});
    let expected = json!({"checksum-type": "SHA-512", "fg 1": [
        {"version": "v-a", "files": {"a/b.txt": listed(old), "c.txt": listed(shared)}},
        {"version": "v-b", "files": {"a/b.txt": listed(new), "c.txt": listed(shared)}},
    ]});
    assert_eq!(one.get("/bridge/list/fg%201").await, (200, expected));
    let (_, of_md5) = one.get("/bridge/list/fg%201?checksum-type=MD5").await;
    assert_eq!(of_md5["fg 1"][0]["files"]["c.txt"], json!({"size": "6", "checksum": ""}), "none is on record");

    let described = |bytes: &[u8]| json!({"size": bytes.len().to_string(), "SHA-512": sha512(bytes)});
    let expected = json!({"filegroup": "fg 1", "v-a": {"a/b.txt": described(old), "c.txt": described(shared)},
        "v-b": {"a/b.txt": described(new), "c.txt": described(shared)}});
    assert_eq!(one.get("/otm/list/fg%201").await, (200, expected));
    let expected = json!({"filegroup": "fg 1", "v-a": {"a/b.txt": described(old)}, "v-b": {"a/b.txt": described(new)}});
    for path in ["/otm/list/fg%201/a/b.txt", "/otm/list/fg%201/a%2Fb.txt", "/otm/list/fg%201/a%2fb%2Etxt"] {
        assert_eq!(one.get(path).await, (200, expected.clone()), "{path}");
    }
    let (_, others) = other.get("/otm/list/fg%201").await;
    assert_eq!(others, json!({"filegroup": "fg 1", "v-a": {"a/b.txt": described(b"another's")}}));
    for path in ["/bridge/list/fg", "/otm/list/fg", "/otm/list/fg%201/a", "/otm/list/fg%201/x/y", "/bridge/list/a%2Fb"]
    {
        assert_eq!(one.get(path).await.0, 404, "{path}");
    }
    assert_eq!(one.get("/bridge/list/fg%201?checksum-type=CRC32").await.0, 400);
    assert_eq!(other.get("/otm/list/fg%201/c.txt").await.0, 404, "it has none of that name");
    assert_eq!(md5(b"").len(), 32);
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let server = Server::start(&[]).await;
    let operator = server.operator("ops").await;
    let account = server.account(&operator, "uni").await;
    let mut names: Vec<String> = (0..7).map(|number| format!("fg-{number} &é\"")).collect();
    for name in &names {
        server.version("uni", name, "", &[("a", b"a")]).await;
    }
    names.sort_unstable();
    for base in [BRIDGE, OTM] {
        assert_eq!(account.get(&format!("{base}/list")).await, (200, json!(names)));
        let (mut found, mut path) = (Vec::new(), format!("{base}/list?limit=3"));
        for expected in [3, 3, 1] {
            let answer = account.fetch(&path, &[]).await;
            let link = header(&answer, "link");
            let page: Vec<String> = answer.json().await.expect("names");
            assert_eq!(page.len(), expected);
            found.extend(page);
            let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            assert_eq!(next.is_some(), expected == 3, "{link}");
            path = format!("{base}/list{}", next.unwrap_or_default());
        }
        assert_eq!(found, names);
        for wrong in ["limit=0", "limit=x", "cursor=%20", "limit=1&limit=2"] {
            assert_eq!(account.get(&format!("{base}/list?{wrong}")).await.0, 400, "{wrong}");
        }
    }
}
