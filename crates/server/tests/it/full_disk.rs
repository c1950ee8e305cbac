//! A full disk: small file systems of their own, mounted where nobody else sees them.

use std::process::{Command, Stdio};

use crate::cli_support::{Dipper, noise};
use crate::handing_in::good_bag;

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

/// What happens when the areas, or the archive that is handed in to, have no room.
const AREAS: &str = r#"
set -u
mount -t tmpfs -o size=64m tmpfs data
mount -t tmpfs -o size=16m tmpfs areas
mount -t tmpfs -o size=24m tmpfs archive
export DIPPER_AREA_DIRECTORY=$PWD/areas DIPPER_AREA_PICKUP_SECONDS=1 DIPPER_AREA_SETTLE_SECONDS=0
export DIPPER_ARCHIVE_ROOT=$PWD/archive/root DIPPER_ARCHIVE_STAGING=$PWD/archive/staging
"$DIPPER" contract add 2d17 >/dev/null || exit 90
"$DIPPER" client add anna --contract 2d17 --role read --role write --json >client.json || exit 91
"$DIPPER" ingest letters --contract 2d17 --object-id letters >/dev/null || exit 92
serve() {
    "$DIPPER" serve --listen 127.0.0.1:0 >serve.txt 2>serve.log &
    server=$!
    until url=$(grep -o 'http://[0-9.:]*' serve.txt); do kill -0 $server || exit 93; done
}
stop() { kill -TERM $server; wait $server || exit 94; }
field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$1"; }
fill() { head -c 1G /dev/zero >"$1/filler" 2>/dev/null; }
# Says when the command that follows ends well; asking takes time, which the server has meanwhile.
until_well() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1)); [ $tries -lt 1000 ] || { echo "never: $*"; cat serve.log >&2; exit 95; }
        "$DIPPER" submission list >/dev/null
    done
}
submitted() { "$DIPPER" submission list --contract 2d17 --state "$1" | grep "$2"; }
there() { ls $1; }
hand_in() { cp "$1" "areas/$1" && chmod 640 "areas/$1" && mv "areas/$1" "areas/2d17/incoming/$1"; }

serve
fill areas
curl -s --noproxy '*' --user "anna:$(field client.json clientSecret)" -H 'Content-Type: application/json' \
    -d '{"origName":"letters"}' "$url/daweb3/automatedRetrieval/queueForRetrievalJSON" >answer.json
echo "ordered_when_full=$(field answer.json success)"
until_well grep 'the area cannot be written to' serve.log
echo "outgoing_when_full=$(ls areas/2d17/outgoing | wc -l)"
rm areas/filler
until_well there 'areas/2d17/outgoing/*.tar'
echo "delivered_with_room=$(tar -xOf areas/2d17/outgoing/*.tar | grep -c 'Dear Anna')"
echo "half_done=$(find areas/.staging -type f | wc -l)"

fill archive
hand_in large.tar
until_well submitted waiting 'the storage is full'
echo "taken_when_full=$(ls areas/2d17/incoming | wc -l)"
rm archive/filler
until_well submitted ingested large.tar
"$DIPPER" verify >/dev/null
echo "verify_with_room=$?"
stop

hand_in broken.tar
fill areas
serve
until_well grep 'broke off' serve.log
echo "refused_when_full=$(submitted refused broken.tar | wc -l)"
rm areas/filler
until_well there areas/2d17/incoming/broken.tar.report.txt
echo "given_back=$(ls areas/2d17/incoming | tr '\n' ' ')"
echo "half_done=$(find areas/.incoming -type f | wc -l)"
stop
"#;

const SKIPPED: &str = "skipped: this machine lets nobody mount a file system of his own (unshare -rm)";

/// Runs a script with file systems of its own; `None` where nobody may mount any.
fn run(dipper: &Dipper, script: &str) -> Option<(Vec<String>, String)> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    crate::peers::install(&[]);
    for directory in ["data", "areas", "archive"] {
        std::fs::create_dir(dipper.path(directory)).unwrap();
    }
    dipper.write("script", script.as_bytes());
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "script"]).current_dir(dipper.directory.path()).stdin(Stdio::null());
    command.env("DIPPER", env!("CARGO_BIN_EXE_dipper")).env("DIPPER_DATA_DIRECTORY", dipper.path("data"));
    let ran = command.output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    let log = std::fs::read_to_string(dipper.path("serve.log")).unwrap_or_default();
    assert!(ran.status.success(), "{told}{}{log}", String::from_utf8_lossy(&ran.stderr));
    Some((told.lines().map(str::to_owned).collect(), log))
}

#[test]
fn a_full_disk_stops_nothing_for_good_and_leaves_nothing_half_done() {
    let dipper = Dipper::new();
    dipper.write("small/a.txt", b"small");
    dipper.write("large/first.bin", &vec![1; 8 << 20]);
    dipper.write("large/second.bin", &vec![2; 24 << 20]);
    let Some((told, log)) = run(&dipper, SCRIPT) else {
        println!("{SKIPPED}");
        return;
    };
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
    assert_eq!(told, expected, "{log}");
}

#[test]
fn areas_and_what_is_handed_in_wait_for_room() {
    let dipper = Dipper::new();
    dipper.write("letters/a.txt", &[b"Dear Anna\n".as_slice(), &noise(4 << 20)].concat());
    dipper.write("large.tar", &good_bag(&"large ".repeat(1 << 20)));
    dipper.write("broken.tar", b"no tar at all");
    let Some((told, log)) = run(&dipper, AREAS) else {
        println!("{SKIPPED}");
        return;
    };
    let expected = [
        "ordered_when_full=true",
        "outgoing_when_full=0",
        "delivered_with_room=1",
        "half_done=0",
        "taken_when_full=0",
        "verify_with_room=0",
        "refused_when_full=0",
        "given_back=broken.tar broken.tar.report.txt ",
        "half_done=0",
    ];
    assert_eq!(told, expected, "{log}");
}
