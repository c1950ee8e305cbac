//! A full disk: a small file system of its own, mounted where nobody else sees it.

use std::process::{Command, Stdio};

use crate::cli_support::Dipper;

/// What happens in there. Every line of the output is `name=value`.
const SCRIPT: &str = r#"
set -u
mount -t tmpfs -o size=24m tmpfs data
"$DIPPER" contract add 2d17 >/dev/null || exit 90
"$DIPPER" client add c1 --contract 2d17 --role read --json >client.json || exit 91
"$DIPPER" ingest small --contract 2d17 --object-id small --json >small.json || exit 92

"$DIPPER" ingest large --contract 2d17 --object-id large 2>full.txt
echo "ingest_full=$?"
echo "ingest_says=$(grep -o 'the storage is full' full.txt | head -n 1)"
"$DIPPER" verify >/dev/null
echo "verify_when_full=$?"
mount -o remount,size=96m data
"$DIPPER" ingest large --contract 2d17 --object-id large --json >large.json
echo "ingest_with_room=$?"
"$DIPPER" verify >/dev/null
echo "verify_with_room=$?"

"$DIPPER" serve --listen 127.0.0.1:0 >serve.txt 2>serve.log &
server=$!
until url=$(grep -o 'http://[0-9.:]*' serve.txt); do kill -0 $server || exit 93; done
field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$1"; }
curl -s "$url/oauth2/token" -d grant_type=client_credentials -d client_id=c1 \
    -d client_secret="$(field client.json clientSecret)" >token.json
order() {
    curl -s -o answer.json -w '%{http_code}' "$url/dps-submission/v1/disseminations" \
        -H "Authorization: Bearer $(field token.json access_token)" -H 'Content-Type: application/json' \
        -d "{\"archiveId\":\"$(field "$1" archiveId)\"}"
}
head -c 1G /dev/zero >data/filler 2>/dev/null
# The log of the database has some room of its own left until it has to grow.
code=201; tries=0
while [ "$code" = 201 ] || [ "$code" = 409 ]; do
    code=$(order small.json); tries=$((tries + 1)); [ $tries -lt 1000 ] || break
done
echo "order_when_full=$code"
echo "order_says=$(field answer.json code)"
rm data/filler
code=$(order large.json)
echo "order_with_room=$code"
id=$(field answer.json disseminationId)
status=; tries=0
while [ "$status" != DISSEMINATED ] && [ $tries -lt 10000 ]; do
    tries=$((tries + 1))
    curl -s "$url/dps-submission/v1/disseminations/$id" \
        -H "Authorization: Bearer $(field token.json access_token)" >answer.json
    status=$(field answer.json status)
done
echo "status=$status"
kill -TERM $server; wait $server
echo "server=$?"
"#;

#[test]
fn a_full_disk_stops_nothing_for_good_and_leaves_nothing_half_done() {
    let allowed = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: this machine lets nobody mount a file system of his own (unshare -rm)");
        return;
    }
    crate::peers::install(&[]);
    let dipper = Dipper::new();
    dipper.write("small/a.txt", b"small");
    dipper.write("large/first.bin", &vec![1; 8 << 20]);
    dipper.write("large/second.bin", &vec![2; 24 << 20]);
    std::fs::create_dir(dipper.path("data")).unwrap();
    dipper.write("script", SCRIPT.as_bytes());
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "script"]).current_dir(dipper.directory.path()).stdin(Stdio::null());
    command.env("DIPPER", env!("CARGO_BIN_EXE_dipper")).env("DIPPER_DATA_DIRECTORY", dipper.path("data"));
    let ran = command.output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    let log = std::fs::read_to_string(dipper.path("serve.log")).unwrap_or_default();
    assert!(ran.status.success(), "{told}{}{log}", String::from_utf8_lossy(&ran.stderr));
    let expected = [
        "ingest_full=6",
        "ingest_says=the storage is full",
        "verify_when_full=0",
        "ingest_with_room=0",
        "verify_with_room=0",
        "order_when_full=503",
        "order_says=STORAGE_FULL",
        "order_with_room=201",
        "status=DISSEMINATED",
        "server=0",
    ];
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told, expected, "{log}");
}
